"""The recipe's JSON Schema, by which editors complete keys and mark mistakes."""

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import CoreSchema

from .recipe import Recipe

SCHEMA_FILE = "recipe.schema.json"
"""Its name beside a recipe: a relative `$schema` is found from the YAML file, wherever muser is installed."""


class _Generator(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: CoreSchema) -> bool:  # noqa: ARG002
        """Titles would only repeat the keys."""
        return False


def recipe_schema() -> dict[str, Any]:
    """What a recipe's file may hold. It cannot say what must agree between keys; `muser check` does."""
    schema = Recipe.model_json_schema(schema_generator=_Generator)
    # The loader takes the name from the file's.
    required = [key for key in schema["required"] if key != "name"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema | {"required": required}


def schema_text() -> str:
    """The schema as a file holds it."""
    return json.dumps(recipe_schema(), ensure_ascii=False, indent=2) + "\n"
