"""Critics put to the test: the same answers again, and answers with planted faults."""

from collections.abc import Callable
from pathlib import Path

import pytest

from muser.core.recipe import Recipe
from muser.core.types import Response, SampleInput
from muser.evals.critics import PlantedFault, ask_again, ask_planted, detections, load_faults
from muser.graph.run import run_recipe
from muser.store.file.database import Store
from muser.store.queries.critics import stability
from muser.store.records.samples import counts

CRITICS = '''
"""Critics that need no model."""

from muser.core.types import Ask, Critique
from muser.evals.critics import load_faults

FAULTY = {one.faulty: one.names[0] for one in load_faults()}


async def sharp(query: str, answer: str, ask: Ask) -> Critique:
    named = FAULTY.get(answer)
    if named:
        return Critique(verdict="revise", rationale=f"We should mend this: {named}.")
    return Critique(verdict="pass", rationale="We have nothing to mend.")


async def nagging(query: str, answer: str, ask: Ask) -> Critique:
    return Critique(verdict="revise", rationale="We should write better.")
'''


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simulate: Callable[..., str]) -> Recipe:
    (tmp_path / "critics_without_models.py").write_text(CRITICS)
    monkeypatch.syspath_prepend(tmp_path)
    functions = {"safety": "sharp", "tone": "nagging"}
    return Recipe(
        name="trial",
        models={"main": {"base_url": simulate(), "model": "simulated"}},
        critics={name: {"function": f"critics_without_models:{one}"} for name, one in functions.items()},
        refine_when="never",
        folder=tmp_path,
    )


async def test_a_fault_is_found_if_a_critic_asks_for_a_revision_and_names_it(recipe: Recipe, tmp_path: Path) -> None:
    faults = load_faults()
    own = sum(one.facet == "safety" for one in faults)
    with Store.open(tmp_path / "muser.db") as store:
        assert detections(store, "trial") == ()
        summary = await ask_planted(recipe, store, run_id="trial")
        assert (summary.run_id, summary.done) == ("trial-planted", 2 * len(faults))
        safety, *tone = detections(store, "trial")
    assert (safety.critic, safety.facet, safety.faults) == ("safety", "safety", own)
    assert (safety.sensitivity, safety.specificity) == (1, 1)
    assert [one.facet for one in tone] == ["decision", "communication", "safety"]
    assert all((one.revised, one.found, one.passed) == (one.faults, 0, 0) for one in tone)


async def test_critics_are_asked_again_about_the_answers_of_a_run(recipe: Recipe, tmp_path: Path) -> None:
    given = [SampleInput(key=f"q{n}", query="?", response=Response(answer=f"Answer {n}.")) for n in range(3)]
    with Store.open(tmp_path / "muser.db") as store:
        await run_recipe(recipe, store, inputs=given, source="given")
        for times in (1, 2):
            summary = await ask_again(recipe, store, run_id="trial", times=times)
            assert (summary.run_id, summary.total) == ("trial-reask", 3 * times)
        assert [(one.critic, one.asked_again, one.same) for one in stability(store, "trial")] == [
            ("safety", 6, 6),
            ("tone", 6, 6),
        ]
        assert counts(store, "trial")["done"] == 3


@pytest.mark.parametrize(
    ("rationale", "named"),
    [("We should ask for the AGE first.", True), ("We should manage this.", False), ("How old is he?", True)],
)
def test_a_fault_is_named_by_the_beginning_of_a_word(rationale: str, named: bool) -> None:
    fault = PlantedFault(key="k", facet="decision", query="q", sound="a", faulty="b", names=["age", "old"])
    assert fault.is_named(rationale) is named
