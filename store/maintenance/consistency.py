"""Finds what SQLite accepts and muser does not: altered texts and steps, missing references, wrong totals."""

import sqlite3
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import get_args

import ormsgpack

from ...core.errors import MuserError
from ...core.types import Outcome, SampleStatus, Stage, Verdict
from ..file.packing import unpack_state, unpack_value, value_digest
from ..file.texts import STORED, is_altered, rope_ids
from ..records.artifacts import ArtifactKind
from ..records.history import references
from ..records.runs import RunKind, RunStatus

MOST = 20
"""Maximum number of problems of one kind in a report."""


def contradictions(db: sqlite3.Connection) -> Iterator[str]:
    """Every inconsistency, one line each, in the snapshot that `db` reads."""
    for find in (_foreign, _words, _texts, _references, _steps, _usage, _attributes):
        try:
            yield from find(db)
        except sqlite3.Error as error:
            yield f"SQLite cannot run one of the checks: {error}"


def _foreign(db: sqlite3.Connection) -> Iterator[str]:
    found = Counter((table, parent) for table, _, parent, _ in db.execute("PRAGMA foreign_key_check"))
    for (table, parent), rows in found.items():
        yield f"{rows} rows of {table} refer to {parent} that are missing"


def _words(db: sqlite3.Connection) -> Iterator[str]:
    """Columns that allow only certain values, or only JSON. The schema has no CHECK for them: a list may grow."""
    for table, column, words in WORDS:
        for word, rows in db.execute(f"SELECT {column}, count(*) FROM {table} GROUP BY 1"):  # noqa: S608
            if word is not None and word not in words:
                yield f"{rows} rows of {table} have the unknown {column} {word!r}"
    for table, column in JSONS:
        count = f"SELECT count(*) FROM {table} WHERE {column} IS NOT NULL AND NOT json_valid({column})"  # noqa: S608
        rows = db.execute(count).fetchone()[0]
        if rows:
            yield f"{rows} rows of {table} have {column} that cannot be read"


WORDS = (
    ("runs", "kind", get_args(RunKind)),
    ("runs", "status", get_args(RunStatus)),
    ("samples", "status", get_args(SampleStatus)),
    ("critiques", "verdict", get_args(Verdict)),
    ("calls", "outcome", get_args(Outcome)),
    ("artifacts", "kind", get_args(ArtifactKind)),
    ("artifacts", "stage", get_args(Stage)),
)
JSONS = (
    *(("runs", column) for column in ("identity", "prompts", "versions", "changes")),
    *(("samples", column) for column in ("persona", "extra")),
    ("artifacts", "meta"),
    ("rubric_items", "tags"),
    ("checkpoints", "metadata"),
)


def _texts(db: sqlite3.Connection) -> Iterator[str]:
    rows = db.execute(f"SELECT {STORED} FROM texts")  # noqa: S608
    return _first(f"text {i} was altered: it does not match its hash" for i, *stored in rows if is_altered(*stored))


def _references(db: sqlite3.Connection) -> Iterator[str]:
    """Ropes are JSON, so `foreign_key_check` does not see the ids in them."""
    there = array("q", (i for (i,) in db.execute("SELECT id FROM texts ORDER BY id")))

    def is_there(i: int) -> bool:
        place = bisect_left(there, i)
        return place < len(there) and there[place] == i

    wrong: Counter[str] = Counter()
    for table, ids, ropes in references(db):
        try:
            if not all(map(is_there, chain(ids, *map(rope_ids, ropes)))):
                wrong[f"rows of {table} refer to texts that are missing"] += 1
        except MuserError:
            wrong[f"rows of {table} have a list of texts that cannot be read"] += 1
    return (f"{rows} {what}" for what, rows in wrong.items())


def _steps(db: sqlite3.Connection) -> Iterator[str]:
    """Checkpoints: a value is checked by its digest, a state by zlib's checksum."""
    values = db.execute("SELECT name, digest, data, texts FROM checkpoint_values JOIN threads ON threads.id = thread")
    yield from _first(
        f"a value in the steps of {name} was altered or cannot be read"
        for name, digest, data, texts in values
        if not _is_value(db, digest, data, texts)
    )
    states = db.execute("SELECT name, state FROM checkpoints JOIN threads ON threads.id = thread")
    yield from _first(f"a step of {name} cannot be read" for name, state in states if not _is_state(state))
    writes = db.execute("SELECT name, value FROM writes JOIN threads ON threads.id = thread")
    yield from _first(f"a node's write in {name} cannot be read" for name, value in writes if not _is_entry(value))


UNREADABLE = (MuserError, ValueError, TypeError, AttributeError)
"""What zlib, msgpack or the packing code raises for altered bytes."""


def _is_value(db: sqlite3.Connection, digest: bytes, data: bytes, texts: str | None) -> bool:
    try:
        return value_digest(unpack_value(db, data, texts)) == digest
    except UNREADABLE:
        return False


def _is_state(state: bytes) -> bool:
    try:
        _, _, entries = ormsgpack.unpackb(unpack_state(state))
        return all(len(entry) in (2, 3) for entry in entries.values())
    except UNREADABLE:
        return False


def _is_entry(value: bytes) -> bool:
    try:
        return len(ormsgpack.unpackb(value)) in (2, 3)
    except UNREADABLE:
        return False


def _usage(db: sqlite3.Connection) -> Iterator[str]:
    for (run,) in db.execute(DIFFERENT):
        yield f"the usage of run {run} does not match the sum of its calls"


DIFFERENT = """
    WITH made AS (
        SELECT run_id, role, outcome, sum(reused_from IS NULL) calls, sum((reused_from IS NULL) * tokens_in) tokens_in,
            sum((reused_from IS NULL) * tokens_out) tokens_out
        FROM calls JOIN samples ON samples.id = sample_id GROUP BY run_id, role, outcome)
    SELECT DISTINCT made.run_id FROM made LEFT JOIN usage USING (run_id, role, outcome)
    WHERE usage.calls IS NOT made.calls OR usage.tokens_in IS NOT made.tokens_in
        OR usage.tokens_out IS NOT made.tokens_out"""


def _attributes(db: sqlite3.Connection) -> Iterator[str]:
    (wrong,) = db.execute(MISINDEXED).fetchone()
    if wrong:
        yield f"the index of attributes differs from the personas in {wrong} places"


MISINDEXED = """
    WITH said AS (
        SELECT samples.id, run_id, one.key, one.value
        FROM samples, json_each(iif(json_valid(persona), persona, '{}')) one),
    kept AS (
        SELECT sample_id, run_id, name, value FROM sample_attributes JOIN attribute_values ON id = value_id)
    SELECT (SELECT count(*) FROM (SELECT * FROM said EXCEPT SELECT * FROM kept))
        + (SELECT count(*) FROM (SELECT * FROM kept EXCEPT SELECT * FROM said))"""


def _first(lines: Iterable[str]) -> Iterator[str]:
    """The first lines, then how many more there are."""
    rest = iter(lines)
    yield from islice(rest, MOST)
    if more := sum(1 for _ in rest):
        yield f"and {more:,} more"
