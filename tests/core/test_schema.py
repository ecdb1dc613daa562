"""The recipe's JSON Schema: what it accepts and refuses, and the examples of the fields."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from muser.core import recipe as settings
from muser.core.documents import read_document
from muser.core.schema import SCHEMA_FILE, recipe_schema

RECIPES = Path(__file__).parents[2] / "recipes"
SHORTEST: dict[str, Any] = {"models": {"main": {"model": "m", "base_url": "http://127.0.0.1:8000/v1"}}}

LEAST: dict[Any, dict[str, Any]] = {
    settings.Recipe: {"name": "study"} | SHORTEST,
    settings.ModelSettings: {"model": "m"},
    settings.RoleSettings: {"model": "m"},
    settings.TrainingSettings: {"model": "m"},
    settings.EvaluationSettings: {"file": "f"},
}
"""What each part cannot do without."""


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    Draft202012Validator.check_schema(recipe_schema())
    return Draft202012Validator(recipe_schema())


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.name)
def test_the_schema_accepts_every_recipe_that_ships_and_each_names_it(path: Path, schema: Draft202012Validator) -> None:
    assert [error.message for error in schema.iter_errors(read_document(path, "recipe").data)] == []
    assert path.read_text(encoding="utf-8").splitlines()[1] == f"# yaml-language-server: $schema={SCHEMA_FILE}"


@pytest.mark.parametrize(
    "more",
    [
        {"roles": {"responder": "main", "critics": {"safety": "main"}}},
        {"roles": {"responder": {"model": "main", "reasoning": "off"}}},
        {"concurrency": "auto"},
        {"models": {"main": {"model": "m", "base_url": ["http://a/v1", "http://b/v1"]}}},
    ],
    ids=str,
)
def test_the_schema_accepts_the_short_forms_and_the_long_ones(more: Any, schema: Draft202012Validator) -> None:
    assert [error.message for error in schema.iter_errors(SHORTEST | more)] == []


@pytest.mark.parametrize(
    "more",
    [
        {"sample": 3},
        {"folder": "."},
        {"samples": "many"},
        {"samples": -1},
        {"concurrency": "automatic"},
        {"concurrency": 0},
        {"models": {}},
        {"models": {"main": {"model": "m", "temprature": 1}}},
        {"roles": {"responder": 3}},
        {"roles": {"responder": {"model": "main", "reasoning": "deep"}}},
        {"critics": {"safety": {"file": "safety.md"}}},
    ],
    ids=str,
)
def test_the_schema_refuses_unknown_keys_and_bad_types(more: Any, schema: Draft202012Validator) -> None:
    assert list(schema.iter_errors(SHORTEST | more))


def fields() -> Iterator[Any]:
    for kind in vars(settings).values():
        if isinstance(kind, type) and issubclass(kind, settings.Settings):
            for name, field in kind.model_fields.items():
                if not field.exclude:
                    yield pytest.param(kind, name, field, id=f"{kind.__name__}.{name}")


@pytest.mark.parametrize(("kind", "name", "field"), list(fields()))
def test_every_key_has_a_description_and_an_example_that_it_takes(kind: Any, name: str, field: Any) -> None:
    assert field.description
    for example in field.examples:
        kind.model_validate(LEAST.get(kind, {}) | {name: example})
