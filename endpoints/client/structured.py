"""How a server gets a reply's schema: in response_format if it supports that, else in the prompt."""

import json
from typing import Any

from pydantic import JsonValue

from ...core.types import Message

ASKED = """\
Reply with one JSON value that meets this JSON Schema and with nothing else: no words around it, no code fence.

<json_schema>
{schema}
</json_schema>"""


def response_format(schema: dict[str, JsonValue], *, with_lengths: bool = True) -> JsonValue:
    """The schema as `response_format`. OpenAI's strict mode rejects schemas that bound a string's length."""
    shape: JsonValue = schema if with_lengths else _without_lengths(schema)
    return {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": shape}}


def with_schema(messages: tuple[Message, ...], schema: dict[str, JsonValue]) -> tuple[Message, ...]:
    """The messages with the schema at the end of the last one, so that the critics' shared prefix stays identical."""
    *before, last = messages
    asked = ASKED.format(schema=json.dumps(schema, ensure_ascii=False))
    return (*before, last.model_copy(update={"content": f"{last.content}\n\n{asked}"}))


def _without_lengths(schema: Any) -> Any:
    if isinstance(schema, dict):
        kept = {
            key: value
            for key, value in schema.items()
            if not (key in ("minLength", "maxLength") and isinstance(value, int))
        }
        return {key: _without_lengths(value) for key, value in kept.items()}
    return [_without_lengths(item) for item in schema] if isinstance(schema, list) else schema
