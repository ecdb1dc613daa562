"""The recipes that ship: they load, they say how to run them, and init.yaml knows every setting."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest

from muser.core.documents import parse_document
from muser.core.loading import load_recipe, parse_recipe
from muser.core.recipe import Recipe, Settings
from muser.graph.inputs import read_queries
from muser.prompts.attributes import load_attributes
from muser.prompts.templates import load_prompts

RECIPES = Path(__file__).parents[2] / "recipes"
EVERYTHING = re.sub(r"^( *)#(?=\S)", r"\1", (RECIPES / "init.yaml").read_text(encoding="utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize("name", sorted(path.name for path in RECIPES.glob("*.yaml")))
def test_a_recipe_loads_and_begins_with_the_command_that_runs_it(name: str) -> None:
    recipe = load_recipe(RECIPES / name, needs=["inputs", "critics"])
    load_prompts(recipe)
    load_attributes(recipe.attributes, recipe.folder)
    first = (RECIPES / name).read_text(encoding="utf-8").splitlines()[0]
    assert re.fullmatch(rf"# muser (\w+ (recipes/{name}|recipe\.yaml)|demo.*)", first)


def test_the_twenty_questions_can_be_read_and_told_apart() -> None:
    inputs = list(read_queries(RECIPES / "questions.jsonl"))
    lines = [json.loads(line) for line in (RECIPES / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(inputs) == len({value.query for value in inputs}) == len({line["id"] for line in lines}) == 20
    assert all(set(line) == {"id", "query", "note"} for line in lines)


def test_init_is_a_good_recipe_with_everything_set(tmp_path: Path) -> None:
    for name in ("healthbench.jsonl", "questions.jsonl", "personas.csv"):
        (tmp_path / name).touch()
    recipe = parse_recipe(EVERYTHING, tmp_path, needs=["inputs", "critics", "training", "evaluation"])
    assert recipe.role("refiner").stage == "distill"


def test_init_shows_every_setting_with_its_default() -> None:
    data = parse_document(EVERYTHING, "init.yaml").data
    # What holds for one stage holds for the other; it is written out once.
    data["training"]["refine"] = data["training"]["distill"] | data["training"]["refine"]
    assert list(differences(Recipe, data)) == ["samples"]


def differences(kind: type[Settings], data: dict[str, Any], place: str = "") -> Iterator[str]:
    """Settings that are not shown, or are shown with another value than their default."""
    for name, field in kind.model_fields.items():
        if field.exclude:
            continue
        shown: Any = data.get(name)
        inner = next((part for part in (field.annotation, *get_args(field.annotation)) if _is_settings(part)), None)
        if name not in data:
            yield f"{place}{name} is missing"
        elif get_origin(field.annotation) is dict and inner:
            together = {key: value for entry in shown.values() for key, value in entry.items()}
            yield from differences(inner, together, f"{place}{name}.")
        elif inner and isinstance(shown, dict):
            yield from differences(inner, shown, f"{place}{name}.")
        elif field.default not in (shown, None, {}, []) and not field.is_required():
            yield f"{place}{name}"


def _is_settings(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Settings)
