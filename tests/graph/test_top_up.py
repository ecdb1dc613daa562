"""Top-up of a run on a real endpoint and store: filled, resumed, repeated."""

from pathlib import Path

import pytest

from muser.core.recipe import Recipe
from muser.graph.inputs import redrawn_persona
from muser.graph.run import run_recipe
from muser.graph.top_up import plan_inputs
from muser.prompts.attributes import load_attributes
from muser.prompts.joint import joint_of
from muser.screens.coverage import cells_of, measure_coverage
from muser.store.file.database import Store
from muser.store.queries.coverage import accepted_personas, count_accepted
from muser.store.records.samples import Trace, add_samples

TABLE = """\
attributes:
  identity: {values: {parent: {traits: {age: [0, 17]}}, nurse: , patient: }}
  condition: {values: {flu: , burn: , dementia: {traits: {age: [60, 100]}}}}
"""


@pytest.fixture
def recipe(tmp_path: Path, simulated: str) -> Recipe:
    (tmp_path / "own.yaml").write_text(TABLE)
    models = {"main": {"base_url": simulated, "model": "simulated"}}
    return Recipe(name="study", models=models, samples=100, attributes="own.yaml", folder=tmp_path)


def short(store: Store, recipe: Recipe) -> int:
    joint = joint_of(load_attributes(recipe.attributes, recipe.folder))
    return len(measure_coverage(cells_of(store, "study", joint)).short)


async def test_a_top_up_fills_what_is_short_and_has_nothing_to_do_afterwards(recipe: Recipe, tmp_path: Path) -> None:
    with Store.open(tmp_path / "muser.db") as store:
        await run_recipe(recipe, store)
        assert short(store, recipe) > 0
        summary = await run_recipe(recipe, store, top_up=True)
        accepted = count_accepted(store, "study")
        assert (summary.done, summary.pending) == (accepted.all, 0)
        assert accepted.drawn == 100
        assert accepted.topped_up > 0
        assert short(store, recipe) == 0
        assert all(p["identity"] != "parent" or p["condition"] != "dementia" for p in accepted_personas(store, "study"))
        again = await run_recipe(recipe, store, top_up=True)
        assert again.total == summary.total


async def test_a_top_up_that_was_stopped_ends_with_the_same_personas(recipe: Recipe, tmp_path: Path) -> None:
    personas = []
    for stopped in (False, True):
        with Store.open(tmp_path / f"{stopped}.db") as store:
            await run_recipe(recipe, store)
            if stopped:
                joint = joint_of(load_attributes(recipe.attributes, recipe.folder))
                tables = load_attributes(recipe.attributes, recipe.folder)
                add_samples(store, "study", plan_inputs(store, "study", tables, joint)[:2], recipe.seed)
            await run_recipe(recipe, store, top_up=True)
            personas.append(list(accepted_personas(store, "study")))
    assert personas[0] == personas[1]


def test_a_rejected_sample_of_a_top_up_keeps_the_persona_that_was_chosen_for_it(recipe: Recipe) -> None:
    tables, persona = load_attributes(recipe.attributes, recipe.folder), {"identity": "nurse", "condition": "dementia"}

    def redrawn(key: str, draw: int) -> object:
        trace = Trace(id=f"study/{key}", run_id="study", key=key, seed=1, status="running", persona=persona, draw=draw)
        return redrawn_persona(recipe, tables, trace)

    last = recipe.screens.redraws
    assert [redrawn("t000001", draw) for draw in (1, last, last + 1)] == [persona, persona, None]
    assert redrawn("q000001", 1) is None
    assert len({str(redrawn(f"s{n:06d}", 1)) for n in range(1, 30)}) > 3
