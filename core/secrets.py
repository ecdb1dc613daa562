"""Recognises text that looks like a key: recipes are stored, shown and shared, so they must not contain keys."""

import re
from collections.abc import Iterator
from typing import Any

from .documents import Keys

NAME = re.compile(
    r"(?:api|access|private)[-_]?key|authorization|password|passwd|secret|credential|^token$"
    r"|(?:access|api|auth|bearer|github|hf|hub|refresh|session)[-_]?token",
    re.IGNORECASE,
)
"""Names of settings that hold a key."""

VALUE = re.compile(
    r"(?<![A-Za-z0-9])(?:sk-[\w-]{8,}"  # OpenAI and many that follow it
    r"|hf_[A-Za-z0-9]{16,}"  # Hugging Face
    r"|A[KS]IA[A-Z0-9]{16}"  # AWS
    r"|gh[opsur]_[A-Za-z0-9]{20,}|github_pat_\w{20,}"  # GitHub
    r"|AIza[\w-]{30,}"  # Google
    r"|lsv2_\w{16,}"  # LangSmith
    r")"
)
"""Key formats of well-known services."""

FREE = ("extra_body", "serve", "base_url", "model")
"""The parts of a model's settings that accept free text."""


def secret_places(data: dict[str, Any]) -> Iterator[Keys]:
    """Where a recipe's plain data contain something that looks like a key, at any depth."""
    models = data.get("models")
    for name, model in models.items() if isinstance(models, dict) else ():
        for part in FREE if isinstance(model, dict) else ():
            yield from _inside(model.get(part), ("models", name, part), named=False)
    yield from _inside(data.get("otel"), ("otel",), named=False)


def hide_secrets(text: str) -> str:
    """The text with `***` in place of every key of a well-known service."""
    return VALUE.sub("***", text)


def _inside(value: Any, keys: Keys, *, named: bool) -> Iterator[Keys]:
    """`named`: a parent key's name says that this value is secret."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _inside(inner, (*keys, key), named=named or bool(NAME.search(str(key))))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _inside(inner, (*keys, number), named=named)
    elif isinstance(value, str) and value and (named or VALUE.search(value)):
        yield keys
