"""Digests and seeds: equal values give equal results on every machine and in every process."""

import hashlib
import json
from pathlib import Path
from typing import Any


def digest(value: Any) -> str:
    """SHA-256 (hex) of a JSON value's canonical form, or of a string's UTF-8 bytes."""
    text = value
    if not isinstance(value, str):
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # Model text may contain lone surrogates, which strict UTF-8 rejects; they must not stop a run.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def derive_seed(*parts: str | int) -> int:
    """A seed in [0, 2**31) that depends on every part, so that any subset of samples and calls can be repeated."""
    return int(digest([str(part) for part in parts])[:8], 16) >> 1
