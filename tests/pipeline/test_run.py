"""Which steps a recipe asks for, where they stand, and what a change sets back; nothing is trained here."""

import json
from pathlib import Path

import pytest

from muser.core.errors import MachineError, SettingsError
from muser.core.recipe import TrainingSettings
from muser.graph.inputs import read_queries
from muser.pipeline import sampling
from muser.pipeline.run import STEPS, look, plan, run_pipeline, steps_of
from muser.pipeline.steps import Listener, StepState, Work
from muser.store.file.database import Store
from muser.store.queries.export import export_rows
from muser.store.records.artifacts import Artifact, record_artifact
from muser.store.records.runs import list_runs
from muser.store.records.samples import get_trace

from .conftest import MakeRecipe

ALL = ["distill.run", "distill.train", "refine.run", "refine.train", "eval.base", "eval.distill", "eval.refine"]


@pytest.fixture(autouse=True)
def student(tmp_path: Path) -> Path:
    """What stands for a model where none is loaded."""
    folder = tmp_path / "student"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def states(found: list[StepState]) -> dict[str, str]:
    return {state.name: state.state for state in found}


def note(found: list[StepState], name: str) -> str:
    return next(state.note for state in found if state.name == name)


async def answer(work: Work) -> None:
    """The first step, done."""
    await sampling.run_distill(work)
    work.states["distill.run"] = sampling.look_at_distill(work)


def pretend_trained(work: Work, stage: str, weights: str) -> None:
    """An artifact as a training of this stage leaves it."""
    folder = Path(work.recipe.output) / weights
    folder.mkdir(parents=True, exist_ok=True)
    model = Artifact(kind="model", name="student", stage=stage, path=str(folder), digest=weights)
    record_artifact(work.store, model)


def test_every_step_comes_after_what_it_needs() -> None:
    names = [step.name for step in STEPS]
    assert names == [*ALL, "report"]
    for number, step in enumerate(STEPS):
        assert set(step.needs) <= set(names[:number])


def test_a_plan_of_nothing_has_everything_to_do_and_leaves_no_trace(make_recipe: MakeRecipe, store: Store) -> None:
    found = plan(make_recipe("http://127.0.0.1:1/v1"), store)
    assert states(found) == dict.fromkeys([*ALL, "report"], "to do")
    assert note(found, "distill.run") == "4 samples"
    assert note(found, "refine.run") == "after distill.train"
    assert list_runs(store) == []


def test_only_the_stages_that_are_asked_for_are_scored(make_recipe: MakeRecipe) -> None:
    def names(**settings: object) -> list[str]:
        return [step.name for step in steps_of(make_recipe("http://127.0.0.1:1/v1", **settings))]

    assert names(evaluation={"file": "benchmark.jsonl", "stages": ["refine"]}) == [*ALL[:4], "eval.refine", "report"]
    assert names(evaluation=None) == [*ALL[:4], "report"]


def test_a_recipe_may_train_the_first_stage_only(make_recipe: MakeRecipe) -> None:
    training = {"model": "student", "stages": ["distill"]}
    recipe = make_recipe("http://127.0.0.1:1/v1", training=training, critics={})
    steps = steps_of(recipe)
    assert [step.name for step in steps] == ["distill.run", "distill.train", "eval.base", "eval.distill", "report"]
    assert steps[-1].needs == ("distill.run", "distill.train", "eval.base", "eval.distill")


@pytest.mark.parametrize("stages", [[], ["refine"], ["refine", "distill"], ["distill", "distill"]])
def test_stages_that_cannot_be_trained_in_this_order_are_refused(stages: list[str]) -> None:
    with pytest.raises(ValueError, match="refine starts from the distilled model"):
        TrainingSettings(model="student", stages=stages)


@pytest.mark.parametrize(
    ("settings", "missing"),
    [({"training": None}, "training"), ({"critics": {}}, "critics"), ({"samples": 0}, "samples or queries")],
)
async def test_a_recipe_without_what_a_pipeline_needs_is_refused(
    make_recipe: MakeRecipe, store: Store, settings: dict[str, object], missing: str
) -> None:
    with pytest.raises(SettingsError, match=f"needs {missing}"):
        await run_pipeline(make_recipe("http://127.0.0.1:1/v1", **settings), store)


async def test_a_finished_step_is_done_and_more_samples_make_it_unfinished(
    simulated: str, make_recipe: MakeRecipe, store: Store
) -> None:
    await answer(Work(make_recipe(simulated), store))
    assert states(plan(make_recipe(simulated), store))["distill.run"] == "done"
    more = plan(make_recipe(simulated, samples=6), store)
    assert (more[0].state, more[0].note) == ("unfinished", "4 samples done, 2 to do")


async def test_no_server_starts_for_responses_that_the_query_file_brings(
    make_recipe: MakeRecipe, store: Store, tmp_path: Path
) -> None:
    """The responder is a folder that no server could load, so starting one would fail."""
    brought = [{"id": f"b{n}", "query": f"May I run {n} km?", "response": {"answer": "Yes."}} for n in range(3)]
    (tmp_path / "brought.jsonl").write_text("".join(json.dumps(one) + "\n" for one in brought), encoding="utf-8")
    recipe = make_recipe("http://127.0.0.1:1/v1", samples=0, queries="brought.jsonl", roles={"responder": "student"})
    served: list[str] = []
    work = Work(recipe, store, listener=Listener(on_serve=lambda name, _: served.append(name)))
    await answer(work)
    assert (work.states["distill.run"].note, served) == ("3 samples done", [])
    brought[0].pop("response")
    (tmp_path / "brought.jsonl").write_text("".join(json.dumps(one) + "\n" for one in brought), encoding="utf-8")
    assert sampling.distill_roles(recipe, read_queries(tmp_path / "brought.jsonl")) is None


async def test_a_changed_teacher_opens_a_new_run_and_says_why(
    simulated: str, make_recipe: MakeRecipe, store: Store
) -> None:
    await answer(Work(make_recipe(simulated), store))
    changed = make_recipe(simulated, seed=1)
    first = plan(changed, store)[0]
    assert (first.state, first.note) == ("stale", "a new run trial-distill-2, because seed: 0 → 1")
    await answer(Work(changed, store))
    assert plan(changed, store)[0].result == "trial-distill-2"
    assert plan(make_recipe(simulated), store)[0].result == "trial-distill"


async def test_what_only_the_judge_or_the_training_sees_leaves_the_samples_as_they_are(
    simulated: str, make_recipe: MakeRecipe, store: Store, tmp_path: Path
) -> None:
    await answer(Work(make_recipe(simulated), store))
    (tmp_path / "judge.md").write_text("{{ conversation }} {{ points }} {{ criterion }}", encoding="utf-8")
    changed = make_recipe(simulated, prompts={"judge": "judge.md"}, concurrency=1)
    changed = changed.model_copy(
        update={"training": changed.training and changed.training.model_copy(update={"seed": 7})}
    )
    assert plan(changed, store)[0].state == "done"


async def test_refining_starts_from_the_teachers_responses_and_says_where_they_come_from(
    simulated: str, make_recipe: MakeRecipe, store: Store, tmp_path: Path
) -> None:
    work = Work(make_recipe(simulated), store)
    await answer(work)
    export_rows(store, "trial-distill", "distill", tmp_path / "rows.jsonl")
    await sampling.run_refine(work)
    first, refined = get_trace(store, "trial-distill/s000001"), get_trace(store, "trial-refine/s000001")
    assert refined.origin == first.id
    assert (refined.persona, refined.query, refined.response) == (first.persona, first.query, first.response)
    assert [critique.critic for critique in refined.critiques] == list(work.recipe.critics)
    assert refined.refinement is not None
    assert sampling.look_at_refine(work).state == "done"
    critics = dict(reversed(work.recipe.critics.items()))
    work.recipe = work.recipe.model_copy(update={"critics": critics})
    again = sampling.look_at_refine(work)
    assert (again.state, "critics_order: decision, communication, safety → safety" in again.note) == ("stale", True)


async def test_another_distilled_model_opens_another_run_of_refining(
    simulated: str, make_recipe: MakeRecipe, store: Store, tmp_path: Path
) -> None:
    """The endpoint stands for the student here: what matters is that the ledger tells its trainings apart."""
    recipe = make_recipe(simulated)
    work = Work(recipe, store)
    await answer(work)
    export_rows(store, "trial-distill", "distill", tmp_path / "rows.jsonl")
    bound = recipe.roles.model_copy(
        update={"refiner": recipe.role("refiner").model_copy(update={"model": "student@distill"})}
    )
    work.recipe = recipe.model_copy(update={"roles": bound})
    pretend_trained(work, "distill", "one")
    before = sampling.look_at_refine(work)
    pretend_trained(work, "distill", "two")
    assert before.inputs != sampling.look_at_refine(work).inputs


async def test_steps_after_a_stale_one_are_stale_where_they_were_made_before(
    simulated: str, make_recipe: MakeRecipe, store: Store
) -> None:
    work = Work(make_recipe(simulated), store)
    await answer(work)
    pretend_trained(work, "distill", "one")
    found = plan(make_recipe(simulated, seed=1), store)
    assert [found[n].state for n in range(4)] == ["stale", "stale", "to do", "to do"]
    assert found[1].note == "again, after distill.run"


async def test_a_run_that_failed_as_a_whole_stops_the_pipeline(
    simulate: object, make_recipe: MakeRecipe, store: Store
) -> None:
    recipe = make_recipe(simulate(faults={"500": 1.0}))  # type: ignore[operator]
    recipe = recipe.model_copy(
        update={"models": {name: model.model_copy(update={"retries": 0}) for name, model in recipe.models.items()}}
    )
    with pytest.raises(MachineError, match="every sample of trial-distill failed"):
        await run_pipeline(recipe, store)


async def test_a_limit_stops_the_pipeline_at_the_step_that_met_it(
    simulated: str, make_recipe: MakeRecipe, store: Store
) -> None:
    heard: list[str] = []
    from muser.pipeline.steps import Listener

    recipe = make_recipe(simulated, limits={"tokens": 1}, concurrency=1)
    result = await run_pipeline(recipe, store, listener=Listener(on_step=lambda state: heard.append(state.name)))
    assert result.stopped_at == "distill.run"
    assert result.summary is not None
    assert (result.summary.done, result.summary.stopped_by) == (1, "tokens")
    assert heard == ["distill.run"]
    assert look(Work(recipe, store), STEPS[0]).state == "unfinished"


def test_the_distilled_student_critiques_where_a_recipe_names_nobody(make_recipe: MakeRecipe) -> None:
    alone = {"student": {"model": "student"}}
    recipe = make_recipe("http://127.0.0.1:1/v1", models=alone, roles={})
    refining = sampling.refine_recipe(recipe)
    roles = sampling.refine_roles(refining)
    assert {refining.role(role).model for role in roles} == {"student@distill"}
    assert recipe.role("refiner").model == "student"
    named = make_recipe("http://127.0.0.1:1/v1", models=alone, roles={"critic": "student"})
    assert sampling.refine_recipe(named).role("critics.safety").model == "student"
