"""The recipe's own words: who plays a role, what is called, what decides a sample."""

from pathlib import Path
from typing import Any

from muser.core.checks import cross_check
from muser.core.recipe import Recipe


def make(**more: Any) -> Recipe:
    models = {name: {"model": name, "base_url": "http://x"} for name in ("big", "small")}
    return Recipe.model_validate({"name": "x", "models": models, "roles": {"responder": "big"}} | more)


CRITICS = {"decision": {"prompt": "decision.md"}, "safety": {"prompt": "safety.md"}}


def test_a_critic_has_its_own_model_else_that_of_all_critics_else_the_first() -> None:
    recipe = make(critics=CRITICS, roles={"critic": "small", "critics": {"safety": "big@distill"}})
    assert recipe.role("critics.decision").model == "small"
    assert (recipe.role("critics.safety").name, recipe.role("critics.safety").stage) == ("big", "distill")
    assert (recipe.role("refiner").name, recipe.role("refiner").stage) == ("big", "base")


def test_the_roles_that_are_called_follow_from_samples_and_critics() -> None:
    assert make().call_roles() == ["responder"]
    assert make(samples=1, critics=CRITICS).call_roles() == [
        "persona", "responder", "critics.decision", "critics.safety", "refiner",
    ]  # fmt: skip


def test_the_loader_asks_for_a_model_for_every_role_that_is_called() -> None:
    for samples in (0, 1):
        for critics in ({}, CRITICS):
            data: dict[str, Any] = {"models": {"a": {}, "b": {}}, "samples": samples, "critics": critics}
            asked = {keys[1] for keys, what in cross_check(data, Path()) if "several models" in what}
            called = {
                role.replace("critics.", "critic.").split(".")[0]
                for role in make(**data | {"models": {"a": {"model": "a"}}}).call_roles()
            }
            assert asked == called


def test_identity_keeps_what_decides_content_and_leaves_out_where_and_how_fast() -> None:
    before = make(critics=CRITICS).identity()
    where = {"base_url": "http://y", "timeout": 5, "retries": 0, "data_parallel": 4}
    moved = {name: where | {"model": name} for name in ("big", "small")}
    same = make(critics=CRITICS, samples=9, concurrency=2, store="s", output="o", limits={"tokens": 5}, models=moved)
    assert same.identity() == before
    changes: list[dict[str, Any]] = [{"seed": 1}, {"rounds": 2}, {"repairs": 0}, {"critics": {}}]
    for change in [*changes, {"refine_when": "any_revise"}]:
        assert make(**{"critics": CRITICS} | change).identity() != before


def test_a_model_that_plays_no_role_does_not_matter() -> None:
    other = {"big": {"model": "big", "base_url": "http://x"}, "small": {"model": "other", "base_url": "http://x"}}
    assert make(models=other).identity() == make().identity()
