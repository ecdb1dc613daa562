"""Drops the checkpoints of finished samples that will not be forked, and texts that are no longer referred to."""

import json
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from sqlite3 import Connection

from ...core.errors import InputError
from ...core.types import Value
from ..file.database import Store, now
from ..file.texts import rope_ids
from .search import forget_texts
from .workers import workers_of

BATCH = 200
"""Samples in one transaction; limits how long an active run waits for the write lock."""


class Pruned(Value):
    """What `prune` dropped; `texts` is None if they were left alone because a run is active."""

    samples: int
    texts: int | None


def prune(store: Store, keep: Iterable[str] = ()) -> Pruned:
    """Drop the checkpoints of all finished samples except those in `keep` (runs or samples), then unused texts.

    Results and calls are kept. The file keeps its size until it is vacuumed. Raises InputError for an unknown `keep`.
    """
    kept = json.dumps([_named(store, name) for name in keep])
    samples, last = 0, 0
    while ids := [row["id"] for row in store.read(PRUNABLE, (last, kept, kept, BATCH))]:
        store.write_now(lambda db, ids=ids: drop_history(db, ids))  # type: ignore[misc]
        samples, last = samples + len(ids), ids[-1]
    # One transaction, since a text that is unused now could be referred to in the next. It takes seconds in a large
    # store, for which an active run would wait.
    return Pruned(samples=samples, texts=None if workers_of(store) else store.write_now(_drop_texts))


PRUNABLE = """
    SELECT id FROM samples WHERE id > ? AND status = 'done' AND pruned_at IS NULL
    AND run_id NOT IN (SELECT value FROM json_each(?)) AND run_id || '/' || key NOT IN (SELECT value FROM json_each(?))
    ORDER BY id LIMIT ?"""


def drop_history(db: Connection, samples: Collection[int]) -> None:
    """Drop the checkpoints of these samples, inside a change; they can no longer be forked."""
    ids = json.dumps(list(samples))
    drop_threads(db, samples)
    db.execute(f"UPDATE samples SET pruned_at = ? WHERE id IN (SELECT id {AMONG})", (now(), ids))  # noqa: S608


def drop_threads(db: Connection, samples: Collection[int]) -> None:
    """Drop the checkpoints of these samples, inside a change; if run again, they start over."""
    ids = json.dumps(list(samples))
    # Foreign keys delete the thread's checkpoints, values and writes with it (ON DELETE CASCADE).
    db.execute(f"DELETE FROM threads WHERE name IN (SELECT run_id || '/' || key {AMONG})", (ids,))  # noqa: S608


AMONG = "FROM samples WHERE id IN (SELECT value FROM json_each(?))"


def references(db: Connection) -> Iterator[tuple[str, list[int], list[str]]]:
    """(table, ids, ropes) of each row that refers to texts. SQLite's foreign keys do not cover the ids in ropes."""
    for table, ids, ropes in COLUMNS:
        for found in db.execute(f"SELECT {', '.join((*ids, *ropes))} FROM {table}"):  # noqa: S608
            yield table, [i for i in found[: len(ids)] if i], [rope for rope in found[len(ids) :] if rope]


COLUMNS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("samples", ("query_id", "reasoning_id", "answer_id", "refined_answer_id"), ("refined_reasoning", "history")),
    ("critiques", ("rationale_id",), ()),
    ("grades", ("explanation_id",), ()),
    ("rubric_items", ("criterion_id",), ()),
    ("calls", ("parameters_id", "reasoning_id"), ("messages", "reply")),
    ("checkpoint_values", (), ("texts",)),
)


def _drop_texts(db: Connection) -> int:
    """Mark and sweep, with one bit per text: 122 KiB for a million texts.

    Reference counts would be faster here, but each call would have to update those of all its texts.
    """
    size = (db.execute("SELECT coalesce(max(id), 0) FROM texts").fetchone()[0] >> 3) + 1
    used = bytearray(size)
    for _, ids, ropes in references(db):
        for i in chain(ids, *map(rope_ids, ropes)):
            used[i >> 3] |= 1 << (i & 7)
    idle = [(i,) for (i,) in db.execute("SELECT id FROM texts") if not used[i >> 3] >> (i & 7) & 1]
    forget_texts(db, idle)
    db.executemany("DELETE FROM texts WHERE id = ?", idle)
    return len(idle)


def _named(store: Store, name: str) -> str:
    run, _, key = name.rpartition("/")
    found = store.read("SELECT 1 FROM runs WHERE id = ?", (name,)) or store.read(
        "SELECT 1 FROM samples WHERE run_id = ? AND key = ?", (run, key)
    )
    if not found:
        raise InputError(f"There is no run or sample {name!r} to keep.", where=str(store.path), todo="see `muser runs`")
    return name
