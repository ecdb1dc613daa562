"""JSON Lines, read one line at a time: only a line feed ends a line, and a leading byte order mark is dropped."""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from .errors import InputError


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(number, line) of every line that is not blank, counted from 1. Raises InputError if the file cannot be read."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
                if text.strip():
                    yield number, text.rstrip(b"\r\n")
    except OSError as error:
        raise InputError(
            f"the file cannot be read: {error.strerror}", where=str(path), todo="check the path"
        ) from error


def parse_object(line: bytes) -> dict[str, Any]:
    """The JSON object in a line. Raises ValueError with what is wrong with the line."""
    try:
        value = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 ({error.reason} at byte {error.start})") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - callers handle one kind of error
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
