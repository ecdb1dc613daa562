"""A run's identity: what changes it is refused by name, and what cannot change a sample goes on."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from muser.core.errors import RunChanged
from muser.core.recipe import Recipe
from muser.graph.opening import difference
from muser.graph.run import run_recipe
from muser.store.database import Store
from muser.store.export import rows

MakeRecipe = Callable[..., Recipe]
CODE = """\
from muser.core.types import Critique
async def strict(query, answer, ask):
    return Critique(verdict="revise", rationale="{plan}")
"""


def reordered(recipe: Recipe, *names: str) -> Recipe:
    return recipe.model_copy(update={"critics": {name: recipe.critics[name] for name in names}})


async def test_critics_in_another_order_are_another_recipe(
    simulated: str, make_recipe: MakeRecipe, store: Store
) -> None:
    recipe = make_recipe(simulated, samples=1)
    await run_recipe(recipe, store)
    changed = reordered(recipe, "safety", "decision", "communication").model_copy(update={"samples": 2})
    with pytest.raises(RunChanged, match="critics_order: decision, communication, safety → safety, decision, comm"):
        await run_recipe(changed, store)


def test_the_order_is_named_only_where_critics_of_both_changed_places(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("http://here/v1")
    whole, less = recipe.identity(), reordered(recipe, "communication", "safety").identity()
    assert [line.partition(":")[0] for line in difference(whole, less)] == [
        "critics.decision.prompt",
        "critics.decision.function",
        "roles.critics.decision.model",
        "roles.critics.decision.reasoning",
        "roles.critics.decision.temperature",
        "roles.critics.decision.max_tokens",
    ]
    other = reordered(recipe, "safety", "communication").identity()
    assert "critics_order: decision, communication, safety → safety, communication" in difference(whole, other)


async def test_a_function_critic_whose_code_changed_is_refused_and_rows_tell_the_versions_apart(
    simulated: str, make_recipe: MakeRecipe, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(plan: str) -> None:
        (tmp_path / "opened_critics.py").write_text(CODE.format(plan=plan))
        monkeypatch.delitem(sys.modules, "opened_critics", raising=False)

    write("We should ask.")
    recipe = make_recipe(simulated, samples=1, critics={"mine": {"function": "opened_critics:strict"}})
    await run_recipe(recipe, store)
    assert (await run_recipe(recipe, store)).done == 1
    write("We should warn.")
    with pytest.raises(RunChanged, match=r"texts\.code\.critics\.mine: text \w{8} → text \w{8}"):
        await run_recipe(recipe, store)
    await run_recipe(recipe, store, new=True)
    versions = [next(rows(store, run, "refine"))["prompts"]["critics.mine"] for run in ("trial", "trial-2")]
    assert versions[0] != versions[1]
