"""Files with conversations or keys: only their owner may read them, even under a permissive umask."""

import os
from pathlib import Path
from typing import IO, Any

PRIVATE = 0o600


def open_private(path: Path, mode: str) -> IO[Any]:
    """Open a file for writing. If it is new, only its owner can read it. Text is UTF-8."""
    return open(path, mode, encoding=None if "b" in mode else "utf-8", opener=_open)


def _open(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE)
