"""Real processes share one run: nothing is done twice, and nothing is lost with a worker that is killed."""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from muser.core.errors import EndpointUnreachable
from muser.core.recipe import Recipe
from muser.graph import worker_pool
from muser.graph.progress import Progress
from muser.graph.run import run_recipe
from muser.graph.worker_pool import REPLACEMENTS, share_recipe
from muser.store.file.database import Store
from muser.store.records.ledger import tokens_spent
from muser.store.records.runs import list_runs
from muser.store.records.samples import counts
from muser.store.records.workers import workers_of

MakeRecipe = Callable[..., Recipe]


class Watch:
    """Sees which workers have samples, and calls `act` with their pids once both have."""

    def __init__(self, store: Store, act: Callable[[list[int]], object] = lambda pids: None) -> None:
        self.store, self.act, self.acted = store, act, False
        self.most_in_flight = 0

    def __call__(self, progress: Progress) -> None:
        self.most_in_flight = max(self.most_in_flight, progress.in_flight)
        rows = self.store.read("SELECT DISTINCT worker FROM samples WHERE status = 'running'")
        if len(rows) == 2 and not self.acted:
            self.acted = True
            self.act([worker.pid for worker in workers_of(self.store) if worker.pid != os.getpid()])


def bodies(log: Path) -> Counter[str]:
    return Counter(json.loads(line)["body"] for line in log.read_text().splitlines())


async def test_two_workers_share_a_run_and_report_as_one(
    simulate: Callable[..., str], make_recipe: MakeRecipe, store: Store, tmp_path: Path
) -> None:
    watch = Watch(store)
    recipe = make_recipe(simulate(log=tmp_path / "log", latency=0.3), samples=24, concurrency=5)
    summary = await run_recipe(recipe, store, workers=2, on_progress=watch)
    assert (summary.done, summary.pending, summary.killed, summary.stopped_by) == (24, 0, 0, "")
    assert watch.acted, "both had samples"
    assert 2 <= watch.most_in_flight <= 5
    assert summary.concurrency == 5
    assert sum(line.calls for line in summary.usage) == 24 * 6
    (cache,) = summary.prefix_cache.values()
    asked_in_all = sum(line.tokens_in for line in summary.usage)
    assert asked_in_all / 2 < cache["queries"] <= asked_in_all, "the server's own count is not added up twice"
    asked = bodies(tmp_path / "log")
    assert (len(asked), asked.total()) == (24 * 6, 24 * 6)
    assert list_runs(store)[0].status == "done"
    assert workers_of(store) == []


@pytest.mark.slow
async def test_what_a_killed_worker_had_is_done_by_the_others_and_by_its_replacement(
    simulate: Callable[..., str], make_recipe: MakeRecipe, store: Store, tmp_path: Path
) -> None:
    watch = Watch(store, lambda pids: os.kill(pids[0], signal.SIGKILL))
    recipe = make_recipe(simulate(log=tmp_path / "log", latency=0.3), samples=16, concurrency=8)
    summary = await run_recipe(recipe, store, workers=2, on_progress=watch)
    assert watch.acted
    assert (summary.done, summary.pending, summary.killed) == (16, 0, 1)
    asked = bodies(tmp_path / "log")
    assert len(asked) == 16 * 6
    assert asked.total() <= 16 * 6 + 4 * 3, "only what the killed one had in flight"
    assert [name for name in os.listdir(tmp_path) if "-worker-" in name] == []  # noqa: PTH208 - this test is async


def kill_all(store: Store) -> None:
    for worker in workers_of(store):
        if worker.pid != os.getpid():
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)


@pytest.mark.slow
async def test_workers_that_are_killed_once_are_replaced_and_the_run_ends(
    simulate: Callable[..., str], make_recipe: MakeRecipe, store: Store, tmp_path: Path
) -> None:
    recipe = make_recipe(simulate(log=tmp_path / "log", latency=0.3), samples=12, concurrency=4)
    summary = await run_recipe(recipe, store, workers=2, on_progress=Watch(store, lambda _: kill_all(store)))
    assert (summary.done, summary.pending, summary.killed, summary.stopped_by) == (12, 0, 2, "")
    assert summary.concurrency == 4
    assert bodies(tmp_path / "log").total() <= 12 * 6 + 4 * 3, "only what the killed ones had in flight"


@pytest.mark.parametrize(
    ("ends", "processes"), [("os.kill(os.getpid(), 9)", 2 * (1 + REPLACEMENTS)), ("os._exit(1)", 2)]
)
async def test_a_worker_that_is_killed_is_replaced_a_few_times_and_one_that_crashes_never(
    simulated: str, make_recipe: MakeRecipe, store: Store, monkeypatch: pytest.MonkeyPatch, ends: str, processes: int
) -> None:
    recipe = make_recipe(simulated, samples=2, concurrency=2)
    monkeypatch.setattr(worker_pool, "COMMAND", (sys.executable, "-S", "-c", f"import os; {ends}"))
    summary = await run_recipe(recipe, store, workers=2)
    assert (summary.stopped_by, summary.killed, summary.pending) == ("killed", processes, 2)
    assert summary.stop_cause == f"no worker process is left; {processes} were killed or crashed"
    assert list_runs(store)[0].status == "stopped"
    assert (await run_recipe(recipe, store)).done == 2


@pytest.mark.slow
async def test_a_stop_lets_what_all_workers_have_in_flight_end(
    simulate: Callable[..., str], make_recipe: MakeRecipe, store: Store
) -> None:
    stop = asyncio.Event()
    recipe = make_recipe(simulate(latency=0.3), samples=60, concurrency=4)
    summary = await run_recipe(recipe, store, workers=2, on_progress=Watch(store, lambda _: stop.set()), stop=stop)
    assert summary.stopped_by == "interrupt"
    assert summary.done >= 4
    assert counts(store, "trial") == {
        "pending": 60 - summary.done,
        "running": 0,
        "done": summary.done,
        "failed": 0,
        "rejected": 0,
    }


@pytest.mark.slow
async def test_a_cancelled_pool_leaves_no_process_and_the_run_can_go_on(
    simulate: Callable[..., str], make_recipe: MakeRecipe, store: Store
) -> None:
    pids: list[int] = []
    recipe = make_recipe(simulate(latency=0.3), samples=6, concurrency=4)
    both = asyncio.Event()

    def note(found: list[int]) -> None:
        pids.extend(found)
        both.set()

    task = asyncio.create_task(run_recipe(recipe, store, workers=2, on_progress=Watch(store, note)))
    await both.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert (await run_recipe(recipe, store)).done == 6


async def test_an_error_of_a_worker_is_the_error_of_the_pool(make_recipe: MakeRecipe, store: Store) -> None:
    with pytest.raises(EndpointUnreachable, match=r"models\.sim"):
        await run_recipe(make_recipe("http://127.0.0.1:9/v1", samples=2), store, workers=2)
    assert counts(store, "trial")["pending"] == 2
    assert workers_of(store) == []


@pytest.mark.slow
async def test_a_token_limit_is_of_all_workers_together(simulated: str, make_recipe: MakeRecipe, store: Store) -> None:
    limited = make_recipe(simulated, samples=40, concurrency=2, limits={"tokens": 20_000})
    summary = await run_recipe(limited, store, workers=2)
    assert summary.stopped_by == "tokens"
    assert 20_000 <= tokens_spent(store, "trial") < 30_000


@pytest.mark.parametrize(
    ("concurrency", "most", "shares"),
    [(5, 512, [(3, 512), (2, 512)]), (1, 512, [(1, 512)]), ("auto", 9, [("auto", 5), ("auto", 4)])],
)
def test_workers_divide_what_may_be_in_flight(
    make_recipe: MakeRecipe, concurrency: object, most: int, shares: list[tuple[object, int]]
) -> None:
    recipe = make_recipe("http://127.0.0.1:9/v1", concurrency=concurrency, max_concurrency=most)
    assert [(part.concurrency, part.max_concurrency) for part in share_recipe(recipe, 2)] == shares
