"""Personas that a user brings, one in each row of a file: JSON Lines, CSV or Parquet."""

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..core.errors import InputError, SettingsError
from ..core.hashing import digest
from ..core.installation import install_hint
from ..core.jsonl import parse_object, read_lines
from ..core.recipe import Recipe
from ..core.types import Persona
from .attributes import AttributeTables
from .reachability import load_sound_attributes

MOST_PROBLEMS = 20
FORM = 'each row is one persona, such as {"identity": "nurse", "condition": "snake bite"}; the others are drawn'
Rows = Iterator[tuple[int, Mapping[str, Any]]]
"""(number of the line or the row, its cells)."""
_PERSONA: TypeAdapter[Persona] = TypeAdapter(Persona)


def load_tables(recipe: Recipe) -> AttributeTables:
    """The recipe's attribute tables, with the rows of its file of personas."""
    tables = load_sound_attributes(recipe.attributes, recipe.folder)
    if not recipe.personas:
        return tables
    rows = read_personas(recipe.folder / recipe.personas)
    return replace(tables, rows=rows, digest=digest([tables.digest, rows]))


def read_personas(path: Path) -> tuple[Persona, ...]:
    """The personas of a file. Empty cells are left out. Raises InputError with the rows that are none."""
    read = READERS.get(path.suffix)
    if read is None:
        raise InputError(f"a file of personas ends in {', '.join(READERS)}", where=str(path), todo=FORM)
    rows, problems = [], []
    for number, cells in read(path):
        try:
            rows.append(
                _PERSONA.validate_python({name: cell for name, cell in cells.items() if cell not in (None, "")})
            )
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"][:1])
            problems.append(f"{path}:{number}: {name}: {first['msg'].removeprefix('Value error, ').lower()}")
    if problems or not rows:
        shown = problems[:MOST_PROBLEMS] or ["it has no rows"]
        raise InputError("\n".join(["the file of personas is invalid", *shown]), where=str(path), todo=FORM)
    return tuple(rows)


def _json_lines(path: Path) -> Rows:
    for number, line in read_lines(path):
        try:
            yield number, parse_object(line)
        except ValueError as error:
            raise InputError(
                f"the file of personas is invalid: {error}", where=f"{path}:{number}", todo=FORM
            ) from error


def _csv(path: Path) -> Rows:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file, strict=True, restkey="more cells than names")
            for cells in lines:
                yield lines.line_num, cells
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"the file of personas cannot be read: {error}", where=str(path), todo=FORM) from error


def _parquet(path: Path) -> Rows:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise SettingsError(
            f"{path}: Parquet files need pyarrow", todo=f"{install_hint('train')}; or write JSON Lines or CSV"
        ) from error
    try:
        rows = parquet.read_table(path).to_pylist()
    except (OSError, ArrowException) as error:
        raise InputError(f"the file of personas cannot be read: {error}", where=str(path), todo=FORM) from error
    yield from enumerate(rows, start=1)


READERS: dict[str, Callable[[Path], Rows]] = {".jsonl": _json_lines, ".csv": _csv, ".parquet": _parquet}
