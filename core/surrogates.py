"""Lone surrogates: JSON can escape them, UTF-8 cannot encode them (RFC 8259, section 8.2), and models do write them."""

from typing import Any


def replace_surrogates(value: Any) -> Any:
    """The JSON value with U+FFFD in place of every lone surrogate in its strings."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {key: replace_surrogates(item) for key, item in value.items()}
    return [replace_surrogates(item) for item in value] if isinstance(value, list) else value
