"""Lone surrogates, which JSON can spell and UTF-8 cannot: a model's JSON, and JSON inside its text, may hold some."""

from typing import Any


def replace_surrogates(value: Any) -> Any:
    """A JSON value with U+FFFD for every lone surrogate in its strings."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {key: replace_surrogates(item) for key, item in value.items()}
    return [replace_surrogates(item) for item in value] if isinstance(value, list) else value
