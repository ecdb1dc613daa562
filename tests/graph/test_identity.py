"""A run's identity: a change to it is refused by name; a setting that cannot change a sample may change at any time."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from muser.core.errors import RunChanged
from muser.core.recipe import Recipe
from muser.graph.identity import difference, moved_models, note_servers
from muser.graph.run import run_recipe
from muser.store.file.database import Store
from muser.store.queries.export import rows
from muser.store.records.ledger import calls_of
from muser.store.records.runs import find_run

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


def made(store: Store, run: str) -> int:
    """Calls of the first sample that were made and not reused."""
    return sum(call.reused_from is None for call in calls_of(store, f"{run}/s000001"))


async def test_a_new_run_reuses_identical_calls_and_says_from_where_unless_it_may_not(
    simulated: str, make_recipe: MakeRecipe, store: Store
) -> None:
    recipe = make_recipe(simulated, samples=1)
    await run_recipe(recipe, store)
    shared = await run_recipe(recipe, store, new=True)
    assert (made(store, "trial-2"), shared.reused_from) == (0, {"trial": 6})
    for reuse in ("run", "none"):
        alone = await run_recipe(recipe.model_copy(update={"reuse": reuse}), store, new=True)
        assert (made(store, alone.run_id), alone.reused_from) == (6, {})
    assert (await run_recipe(recipe, store)).done == 1, "how calls are reused does not change a run"


async def test_models_of_one_name_and_different_revisions_share_no_call_and_no_run(
    simulated: str, make_recipe: MakeRecipe, store: Store
) -> None:
    await run_recipe(make_recipe(simulated, samples=1, model={"revision": "one"}), store)
    other = make_recipe(simulated, samples=1, model={"revision": "two"})
    with pytest.raises(RunChanged, match=r"models\.sim\.revision: 'one' → 'two'"):
        await run_recipe(other, store)
    await run_recipe(other, store, new=True)
    assert made(store, "trial-2") == 6


async def test_a_model_at_another_address_is_warned_of_where_nothing_tells_that_it_is_the_same(
    simulate: Callable[..., str], make_recipe: MakeRecipe, store: Store
) -> None:
    first, second = simulate(), simulate()
    here, there = make_recipe(first, samples=1), make_recipe(second, samples=1)

    def warnings(recipe: Recipe, revisions: dict[str, str] | None = None) -> list[str]:
        return list(moved_models(store, recipe, recipe.models, revisions or {}))

    assert warnings(here) == []
    await run_recipe(here, store)
    assert warnings(here) == []
    assert [f"run trial called simulated at {first}" in one and second in one for one in warnings(there)] == [True]
    assert warnings(there, {"sim": "weights"}) == []
    assert warnings(make_recipe(second, model={"revision": "r"})) == []
    assert warnings(there.model_copy(update={"reuse": "run"})) == []
    await run_recipe(there, store)
    run = find_run(store, "trial")
    assert run is not None
    assert run.servers == {"sim": {first: "", second: ""}}
    assert warnings(there) == []


async def test_a_server_that_names_another_model_than_the_one_before_is_refused(
    simulated: str, make_recipe: MakeRecipe, store: Store
) -> None:
    await run_recipe(make_recipe(simulated, samples=1), store)
    note_servers(store, "trial", {"sim": {"http://a/v1": "Qwen/Qwen3-14B"}})
    note_servers(store, "trial", {"sim": {"http://b/v1": "Qwen/Qwen3-14B", "http://c/v1": ""}})
    with pytest.raises(RunChanged, match="http://d/v1 reports that it serves Qwen/Qwen3-8B, but run trial was"):
        note_servers(store, "trial", {"sim": {"http://d/v1": "Qwen/Qwen3-8B"}})


def test_a_served_model_takes_its_revision_where_the_server_does(make_recipe: MakeRecipe) -> None:
    with pytest.raises(ValueError, match=r"serve\.options\.revision"):
        make_recipe("http://here/v1", model={"base_url": None, "serve": {}, "revision": "r"})
