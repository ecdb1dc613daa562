"""Files that hold what patients, models or keys said: for their owner alone, whatever the umask allows."""

import os
from pathlib import Path
from typing import IO, Any

PRIVATE = 0o600


def open_private(path: Path, mode: str) -> IO[Any]:
    """Open a file in a mode that writes; one that is new is readable by its owner only, and text in it is UTF-8."""
    return open(path, mode, encoding=None if "b" in mode else "utf-8", opener=_open)


def _open(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE)
