"""Checks plain data against the recipe's fields and reports pydantic's errors in plain words."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from .checks import Finding
from .documents import Keys
from .problems import suggestion
from .recipe import Recipe

KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
SAID = {
    "missing": "is required",
    "string_pattern_mismatch": "must start with a letter and contain only letters, digits, - and _",
    "string_too_short": "must not be empty",
    "too_short": "must contain at least one entry",
}
LIMITS = {
    "greater_than": "greater than {gt:.12g}",
    "greater_than_equal": "at least {ge:.12g}",
    "less_than": "less than {lt:.12g}",
    "less_than_equal": "at most {le:.12g}",
}


def field_findings(data: dict[str, Any], folder: Path, name: str | None) -> Iterator[Finding]:
    """Every violated rule. `name` is the run's name if the data have none."""
    if "folder" in data:
        yield ("folder",), _unknown(("folder",))
    try:
        read_fields(data, folder, name)
    except ValidationError as error:
        details = error.errors(include_url=False)
    else:
        return
    places = [_place(data, detail) for detail in details]
    kinds: dict[Keys, list[str]] = {}
    for keys, detail in zip(places, details, strict=True):
        # pydantic reports a union's value once for each of its types; an error deeper inside the value says more.
        if detail["type"] in KINDS and any(len(other) > len(keys) == _common(keys, other) for other in places):
            continue
        if detail["type"] in KINDS:
            kinds.setdefault(keys, []).append(KINDS[detail["type"]])
        elif keys == ("name",) and "name" not in data:
            yield keys, "is required: the file's name is not a valid run name (letters, digits, - and _)"
        else:
            yield keys, _in_words(keys, detail)
    for keys, wanted in kinds.items():
        yield keys, f"must be {' or '.join(dict.fromkeys(wanted))}, not {shown(_value(data, keys))}"


def read_fields(data: dict[str, Any], folder: Path, name: str | None) -> Recipe:
    """The recipe from plain data. Raises pydantic's ValidationError."""
    named = data if name is None else {"name": name, **data}
    # Strict, because pydantic would otherwise coerce values: `samples: true` would mean one sample.
    return Recipe.model_validate({**named, "folder": folder}, strict=True)


def known_keys(keys: Keys) -> list[str]:
    """The keys that a recipe's mapping at this location accepts."""
    current: Any = Recipe
    for key in keys:
        inner = get_args(current)[1] if get_origin(current) is dict else current.model_fields[key].annotation
        current = get_args(inner)[0] if isinstance(inner, UnionType) else inner
    return [name for name, field in current.model_fields.items() if not field.exclude]


def shown(value: Any) -> str:
    """A value as messages show it."""
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value[:40]}"' if isinstance(value, str) else str(value)


def _in_words(keys: Keys, detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in SAID:
        return SAID[kind]
    if kind in LIMITS:
        return f"must be {LIMITS[kind].format(**context)}, not {shown(detail['input'])}"
    if kind == "literal_error":
        return f"must be {context['expected'].replace(chr(39), '')}, not {shown(detail['input'])}"
    if kind == "extra_forbidden":
        return _unknown(keys)
    if kind == "value_error":
        return str(context["error"])
    return re.sub("^Input should be", "must be", detail["msg"])


def _unknown(keys: Keys) -> str:
    return f"unknown key{suggestion(str(keys[-1]), known_keys(keys[:-1]))}"


def _place(data: Any, detail: ErrorDetails) -> Keys:
    """The error's location in the data, without the labels that pydantic adds for the members of a union."""
    keys: list[str | int] = []
    for part in detail["loc"]:
        there = part in data if isinstance(data, dict) else isinstance(data, list) and isinstance(part, int)
        if there:
            data = data[part]
            keys.append(part)
    if detail["type"] == "missing" or not keys:
        keys.append(detail["loc"][-1])
    return tuple(keys)


def _value(data: Any, keys: Keys) -> Any:
    for key in keys:
        data = data[key]
    return data


def _common(keys: Keys, other: Keys) -> int:
    return len(keys) if other[: len(keys)] == keys else -1
