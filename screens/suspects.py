"""The texts that decontamination compares: those of a run, or of a file of training rows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from ..core.jsonl import parse_object, read_lines
from ..store.file.database import Store
from ..store.queries.said import said
from .matches import Suspect


def run_suspects(store: Store, run_id: str) -> Iterator[Suspect]:
    """The queries, earlier turns and answers of a run's finished samples."""
    for sample, part, text in said(store, run_id):
        yield Suspect(where=sample, part=part, text=text)


def row_suspects(path: Path) -> Iterator[Suspect]:
    """The texts of rows with `prompt` and `completion` as messages. Raises InputError that names the first bad line."""
    for number, line in read_lines(path):
        where = f"{path}:{number}"
        try:
            yield from _texts(parse_object(line), where)
        except (ValueError, KeyError, TypeError) as error:
            what = f"the field {error} is missing" if isinstance(error, KeyError) else str(error)
            raise InputError(
                f"not a training row: {what}",
                where=where,
                todo="give a run, or rows as `muser export` writes them: {prompt: [messages], completion: [messages]}",
            ) from error


def _texts(row: dict[str, Any], where: str) -> Iterator[Suspect]:
    *before, last = [str(turn["content"]) for turn in row["prompt"]]
    yield from (Suspect(where=where, part="history", text=text) for text in before)
    yield Suspect(where=where, part="query", text=last)
    yield from (Suspect(where=where, part="answer", text=str(turn["content"])) for turn in row["completion"])
