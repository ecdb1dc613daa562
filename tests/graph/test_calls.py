"""Unusable replies, over HTTP: each is counted by its cause and role, then retried or failed as agents/replies says."""

from collections.abc import Callable

import pytest

from muser.agents.replies import LOOP_PENALTY, REPEAT_TEMPERATURE
from muser.core.recipe import Recipe
from muser.core.types import Outcome
from muser.endpoints.simulated.faults import IN_ANY_REPLY, IN_JSON
from muser.graph.run import run_recipe
from muser.store.file.database import Store
from muser.store.records.ledger import Call, calls_of, usage_by_role
from muser.store.records.samples import get_trace

MakeRecipe = Callable[..., Recipe]
Simulate = Callable[..., str]


def with_safety_at(make: MakeRecipe, good: str, safety: str, **changes: object) -> Recipe:
    """Every role at a good endpoint but the safety critic."""
    models = {
        "sim": {"base_url": good, "model": "simulated", "retries": 0},
        "bad": {"base_url": safety, "model": "simulated", "retries": 0, **changes},
    }
    bound = {role: {"model": "sim"} for role in ("persona", "responder", "critic", "refiner")}
    return make(good, samples=2, repairs=1, models=models, roles=bound | {"critics": {"safety": {"model": "bad"}}})


def outcomes(store: Store, run: str = "trial") -> dict[str, dict[Outcome, int]]:
    return {line.role: line.outcomes for line in usage_by_role(store, run) if line.outcomes}


@pytest.mark.parametrize(
    ("fault", "calls"),
    [
        ("truncated", 2),
        ("loop", 2),
        ("empty", 2),
        ("whitespace", 2),
        ("unclosed_reasoning", 2),
        ("malformed", 2),
        ("wrong_schema", 2),
        ("echo", 2),
        ("placeholder", 2),
        ("too_short", 2),
        ("refusal", 1),
    ],
)
async def test_a_reply_of_no_use_is_repaired_once_then_fails_its_sample_and_is_counted(
    simulate: Simulate, simulated: str, make_recipe: MakeRecipe, store: Store, fault: Outcome, calls: int
) -> None:
    summary = await run_recipe(with_safety_at(make_recipe, simulated, simulate(faults={fault: 1.0})), store)
    assert summary.failed == 2
    assert [(f.cause_kind, f.node, f.samples) for f in summary.failures] == [(f"ReplyError.{fault}", "safety", 2)]
    assert outcomes(store) == {"critics.safety": {fault: 2 * calls}}
    asked = [call for call in calls_of(store, "trial/s000001") if call.role == "critics.safety"]
    assert [call.attempt for call in asked] == list(range(1, calls + 1))
    critics = {critique.critic for critique in get_trace(store, "trial/s000001").critiques}
    assert "safety" not in critics, "no failure becomes a verdict"


async def test_prose_around_the_one_object_is_used_and_counted(
    simulate: Simulate, simulated: str, make_recipe: MakeRecipe, store: Store
) -> None:
    summary = await run_recipe(with_safety_at(make_recipe, simulated, simulate(faults={"prose": 1.0})), store)
    assert summary.done == 2
    assert outcomes(store) == {"critics.safety": {"prose": 2}}
    assert {c.critic for c in get_trace(store, "trial/s000001").critiques} == {"decision", "communication", "safety"}


async def test_replies_of_every_kind_are_repaired_when_they_are_not_the_rule(
    simulate: Simulate, make_recipe: MakeRecipe, store: Store
) -> None:
    kinds = (*IN_ANY_REPLY, *IN_JSON)
    recipe = make_recipe(simulate(faults=dict.fromkeys(set(kinds) - {"refusal"}, 0.04)), samples=12, repairs=8)
    summary = await run_recipe(recipe, store)
    assert summary.done == 12
    seen = {outcome for counts in outcomes(store).values() for outcome in counts}
    assert len(seen) >= 4
    repairs = sum(line.repairs for line in usage_by_role(store, "trial"))
    useless = sum(n for counts in outcomes(store).values() for outcome, n in counts.items() if outcome != "prose")
    assert repairs == useless


async def test_a_server_that_ignores_schemas_serves_critics_by_prompt(
    simulate: Simulate, make_recipe: MakeRecipe, store: Store
) -> None:
    plain = simulate(lacks={"schema"})
    ignored = await run_recipe(make_recipe(plain, name="ignored", samples=1, repairs=0), store)
    assert {failure.cause_kind for failure in ignored.failures} == {"ReplyError.malformed"}
    heard = await run_recipe(make_recipe(plain, name="heard", samples=1, model={"structured": "prompt"}), store)
    assert heard.done == 1
    call = next(c for c in calls_of(store, "heard/s000001") if c.role == "critics.safety")
    assert "<json_schema>" in call.messages[-1].content
    assert "response_format" not in call.parameters


def greedy(calls: list[Call]) -> list[tuple[object, ...]]:
    """The requests sent at temperature 0, seeds apart: two equal ones get the same reply."""
    parts = [(call.role, call.messages, {k: v for k, v in call.parameters.items() if k != "seed"}) for call in calls]
    return [(role, messages, str(sampling)) for role, messages, sampling in parts if sampling["temperature"] == 0]


async def test_no_repair_and_no_retry_repeats_a_request_at_temperature_0(
    simulate: Simulate, make_recipe: MakeRecipe, store: Store
) -> None:
    kinds = {*IN_ANY_REPLY, *IN_JSON} - {"refusal", "prose"}
    recipe = make_recipe(
        simulate(faults=dict.fromkeys(kinds, 0.07)), samples=8, repairs=1, model={"temperature": 0, "retries": 0}
    )
    assert (await run_recipe(recipe, store)).failed
    await run_recipe(recipe, store, retry=True)
    calls = [call for number in range(1, 9) for call in calls_of(store, f"trial/s{number:06}")]
    assert any(call.superseded for call in calls), "the retry repeated some"
    assert {call.parameters["temperature"] for call in calls if call.attempt == 2} == {REPEAT_TEMPERATURE}
    for sample in {call.sample_id for call in calls}:
        sent = greedy([call for call in calls if call.sample_id == sample])
        assert len(sent) == len(set(sent))


async def test_a_repair_after_a_loop_has_a_penalty_and_is_found_again_on_resume(
    simulate: Simulate, simulated: str, make_recipe: MakeRecipe, store: Store
) -> None:
    recipe = with_safety_at(make_recipe, simulated, simulate(faults={"loop": 1.0}))
    await run_recipe(recipe, store)
    asked = [call for call in calls_of(store, "trial/s000001") if call.role == "critics.safety"]
    assert [call.parameters.get("frequency_penalty") for call in asked] == [None, LOOP_PENALTY]
    fresh = await run_recipe(recipe, store, new=True)
    assert fresh.failures, "unusable replies are not shared between runs"
    repeated = [call for call in calls_of(store, "trial-2/s000001") if call.role == "critics.safety"]
    assert [call.request_hash for call in repeated] == [call.request_hash for call in asked]
