"""What a run's critics did: counted by hand on a few samples."""

from typing import Any

import pytest

from muser.core.types import SampleInput
from muser.store.file.database import Store
from muser.store.queries.critics import Revisions, Stability, critic_accounts, reask_name, stability
from muser.store.records.runs import Run, create_run
from muser.store.records.samples import add_samples, record_sample

BURN = {
    "query": "I burnt my hand",
    "response": {"reasoning": "", "answer": "Cool it."},
    "critiques": [
        {"critic": "decision", "verdict": "pass", "rationale": "We have the facts."},
        {"critic": "safety", "verdict": "revise", "rationale": "We should say: call a doctor if blisters appear."},
    ],
    # Seven new words, of which safety's plan has six.
    "refinement": {"reasoning": "", "answer": "Cool it. Call a doctor if blisters appear soon."},
}
COUGH = {
    "query": "I cough",
    "response": {"reasoning": "", "answer": "Rest and drink."},
    "critiques": [
        {"critic": "decision", "verdict": "revise", "rationale": "We should ask since when."},
        {"critic": "safety", "verdict": "pass", "rationale": "We name no danger, a doctor is not needed."},
    ],
    # Three new words, of which decision's plan has two, and the plan that safety has for the burn none.
    "refinement": {"reasoning": "", "answer": "Rest and drink. Since when exactly?"},
}


async def record(store: Store, key: str, state: dict[str, Any], run: str = "demo") -> None:
    await record_sample(store, f"{run}/{key}", status="done", state={**state, "round": 1})


@pytest.fixture
async def filled(store: Store, run: Run) -> Store:
    personas = [{"language": "en", "identity": "nurse"}, {"language": "hi", "identity": "nurse"}]
    given = [SampleInput(key=key, persona=one) for key, one in zip(("burn", "cough"), personas, strict=True)]
    add_samples(store, "demo", given, 1)
    for (key, state), one in zip((("burn", BURN), ("cough", COUGH)), personas, strict=True):
        await record(store, key, {**state, "persona": one})
    return store


async def test_a_critic_is_counted_as_a_whole_and_by_every_attribute(filled: Store) -> None:
    decision, safety = critic_accounts(filled, "demo")
    assert (decision.critic, safety.critic) == ("decision", "safety")
    assert safety.first == Revisions(answers=2, revised=1)
    assert safety.by["identity"] == {"nurse": Revisions(answers=2, revised=1)}
    assert safety.by["language"]["en"].revised == decision.by["language"]["hi"].revised == 1
    assert decision.by["language"]["en"] == Revisions(answers=1, revised=0)


async def test_new_words_are_those_of_a_plan_and_compared_with_what_chance_brings(filled: Store) -> None:
    decision, safety = critic_accounts(filled, "demo")
    assert safety.from_plan == pytest.approx(6 / 10)
    assert decision.from_plan == pytest.approx(2 / 10)
    # Of the burn's new words, safety's rationale about the cough has "a" and "doctor".
    assert safety.by_chance == pytest.approx(2 / 10)
    # Safety's own new words: nine about the burn ("We should say" too), eight about the cough ("and" is known).
    assert safety.taken_up == pytest.approx(6 / (9 + 9))
    assert (safety.added_if_revise, safety.added_if_pass) == (7, 3)
    assert (decision.added_if_revise, decision.added_if_pass) == (3, 7)


async def test_verdicts_on_the_same_answers_again_are_compared_with_the_first(filled: Store, run: Run) -> None:
    assert stability(filled, "demo") == ()
    again = run.model_copy(update={"id": "again", "name": reask_name("demo")})
    create_run(filled, again)
    inputs = [SampleInput(key=f"{key}.1", origin=f"demo/{key}") for key in ("burn", "cough")]
    add_samples(filled, "again", inputs, 1)
    await record(filled, "burn.1", BURN, run="again")
    await record(filled, "cough.1", COUGH | {"critiques": BURN["critiques"]}, run="again")
    assert stability(filled, "demo") == (
        Stability(critic="decision", asked_again=2, same=1),
        Stability(critic="safety", asked_again=2, same=1),
    )


def test_a_run_without_critics_has_no_accounts(store: Store, run: Run) -> None:
    assert critic_accounts(store, "demo") == ()
