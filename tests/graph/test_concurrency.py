"""How many samples are in flight follows what servers say, or what latency shows; what limited a run is told."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from muser.core.recipe import Recipe
from muser.endpoints.client.metrics import Load
from muser.graph import concurrency as module
from muser.graph.concurrency import ConcurrencyController, ConcurrencyLimit, Reading, adjust
from muser.graph.progress import Limiter
from muser.graph.run import run_recipe
from muser.store.file.database import Store

MakeRecipe = Callable[..., Recipe]
AUTO = ConcurrencyLimit(limit=100, ceiling=512)
STEADY = replace(AUTO, doubling=False)


def reading(*loads: Load, in_flight: float = 100, under_way: float | None = None, rate: float = 1000.0) -> Reading:
    """A window of one second; latency is what in flight and rate make it."""
    calls = in_flight if under_way is None else under_way
    return Reading(1.0, in_flight, calls, calls=50, call_seconds=calls, tokens=int(rate), loads=loads)


def load(running: float, waiting: float, kv_used: float = 0.5) -> Load:
    return Load(running, waiting, kv_used)


@pytest.mark.parametrize(
    ("limits", "seen", "limit", "limiter"),
    [
        (AUTO, reading(load(80, 0)), 200, "concurrency"),
        (STEADY, reading(load(80, 0)), 110, "concurrency"),
        (replace(STEADY, limit=500), reading(load(400, 0), in_flight=500), 512, "concurrency"),
        (replace(AUTO, limit=512), reading(load(400, 0), in_flight=512), 512, "concurrency"),
        (AUTO, reading(load(80, 4)), 100, "queue"),
        (AUTO, reading(load(100, 100)), 55, "queue"),
        (AUTO, reading(load(10, 990)), 50, "queue"),
        (AUTO, reading(load(0, 90)), 50, "queue"),
        (AUTO, reading(load(80, 0, 0.95)), 100, "kv"),
        (AUTO, reading(load(100, 100, 0.99)), 55, "kv"),
        (AUTO, reading(load(9, 0), load(100, 100), load(80, 4)), 55, "queue"),
        (replace(AUTO, limit=1), reading(load(1, 9), in_flight=1), 1, "queue"),
        (AUTO, reading(load(20, 0), in_flight=60), 100, "samples"),
        (AUTO, reading(load(20, 0), under_way=20), 100, "client"),
        (AUTO, reading(), 200, "concurrency"),
        (replace(AUTO, fixed=True), reading(load(80, 0)), 100, "concurrency"),
        (replace(AUTO, fixed=True), reading(load(50, 50)), 100, "queue"),
        (replace(AUTO, fixed=True), reading(load(50, 0, 0.97)), 100, "kv"),
        (replace(AUTO, fixed=True), reading(), 100, "unknown"),
        (replace(AUTO, fixed=True), reading(in_flight=20), 100, "samples"),
    ],
)
def test_every_reading_has_one_limit_and_one_limiter(
    limits: ConcurrencyLimit, seen: Reading, limit: int, limiter: Limiter
) -> None:
    after = adjust(limits, seen)
    assert (after.limit, after.limiter) == (limit, limiter)


def test_doubling_ends_for_good_at_the_first_queue() -> None:
    limits = adjust(adjust(AUTO, reading(load(80, 20))), reading(load(80, 0), in_flight=88))
    assert (limits.limit, limits.doubling) == (96, False)


def test_a_trial_that_brings_latency_and_no_throughput_is_taken_back_and_repeated_later() -> None:
    limits = adjust(adjust(AUTO, reading(rate=1000)), reading(in_flight=200, rate=1050))
    assert (limits.limit, limits.limiter, limits.rest) == (100, "latency", module.REST)
    for _ in range(module.REST):
        limits = adjust(limits, reading(rate=1000))
        assert (limits.limit, limits.limiter) == (100, "latency")
    assert adjust(limits, reading(rate=1000)).limit == 125


def test_a_trial_that_brings_throughput_stands() -> None:
    limits = adjust(adjust(AUTO, reading(rate=1000)), reading(in_flight=200, rate=1700))
    assert (limits.limit, limits.limiter) == (400, "concurrency")


def test_an_endpoint_that_slows_down_at_the_same_pace_gets_less() -> None:
    resting = replace(STEADY, rest=3, before=reading(rate=1000))
    assert adjust(resting, reading(rate=600)).limit == 90


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("slots", [1, 12, 90, 300])
def test_the_pace_settles_near_what_the_server_can_take(slots: int, told: bool) -> None:
    random, limits, seen = Random(slots), ConcurrencyLimit(limit=16, ceiling=512), []
    for _ in range(200):
        running = min(limits.limit, slots)
        rate = 30.0 * running * random.uniform(0.95, 1.05)
        loads = (load(running, limits.limit - running),) if told else ()
        limits = adjust(limits, reading(*loads, in_flight=limits.limit, rate=rate))
        seen.append(limits.limit)
    settled = sorted(seen[120:])
    assert 0.75 * slots <= settled[len(settled) // 2] <= 1.5 * slots + 2
    assert max(settled) <= 2 * slots + 2


async def run_with(
    recipe: Recipe, store: Store, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[Limiter, float], list[int], int]:
    """What limited the run, the samples in flight whenever one ended, and the limit at its end."""
    monkeypatch.setattr(module, "WINDOW", 0.1)
    seen: list[int] = []
    summary = await run_recipe(recipe, store, on_progress=lambda progress: seen.append(progress.in_flight))
    assert summary.done == summary.total
    return dict(summary.limited_by), seen, summary.concurrency


async def test_auto_goes_down_to_what_a_server_with_few_slots_takes(
    simulate: Callable[..., str], make_recipe: MakeRecipe, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe(simulate(slots=2, latency=0.1), samples=40, concurrency="auto", critics={})
    limits, seen, limit = await run_with(recipe, store, monkeypatch)
    assert "queue" in limits
    # A busy machine may double the start once, before the server has told of a queue.
    assert max(seen) <= 32
    assert limit < 12


async def test_auto_goes_up_where_nobody_waits(
    simulate: Callable[..., str], make_recipe: MakeRecipe, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe(simulate(latency=0.4), samples=80, concurrency="auto", max_concurrency=40, critics={})
    limits, seen, limit = await run_with(recipe, store, monkeypatch)
    assert limit == 40
    assert 16 < max(seen) <= 40
    assert "concurrency" in limits


async def test_fixed_concurrency_stays_and_the_queue_is_told(
    simulate: Callable[..., str], make_recipe: MakeRecipe, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe(simulate(slots=1, latency=0.05), samples=24, concurrency=6, critics={})
    limits, seen, limit = await run_with(recipe, store, monkeypatch)
    assert limit == 6
    assert max(seen) <= 6
    assert "queue" in limits


async def test_a_server_without_metrics_is_asked_for_them_once(
    simulate: Callable[..., str], make_recipe: MakeRecipe, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    look = ConcurrencyController.loads

    async def counted(self: ConcurrencyController) -> dict[str, Load]:
        asked.append(len(self._servers))
        return await look(self)

    monkeypatch.setattr(ConcurrencyController, "loads", counted)
    recipe = make_recipe(simulate(latency=0.05, lacks={"metrics"}), samples=20, concurrency=4, critics={})
    limits, _, _ = await run_with(recipe, store, monkeypatch)
    assert asked[0] == 1
    assert not any(asked[1:])
    assert "unknown" in limits
