"""The step history of finished samples: what may be dropped, once nobody will fork them, and the texts left by that."""

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
"""Samples or texts in one transaction: a run at work must not wait long for the writer."""


class Pruned(Value):
    """What `prune` has dropped; `texts` is None where they were left alone, since a run is at work."""

    samples: int
    texts: int | None


def prune(store: Store, keep: Iterable[str] = ()) -> Pruned:
    """Drop the checkpoints of finished samples but for the runs and samples to `keep`, then texts nobody refers to.

    Results and calls stay. The file keeps its size until it is vacuumed. InputError where `keep` names nothing.
    """
    kept = json.dumps([_named(store, name) for name in keep])
    samples, last = 0, 0
    while ids := [row["id"] for row in store.read(PRUNABLE, (last, kept, kept, BATCH))]:
        store.write_now(lambda db, ids=ids: drop_history(db, ids))  # type: ignore[misc]
        samples, last = samples + len(ids), ids[-1]
    # One change, which takes seconds in a large store: a run at work would wait for it.
    return Pruned(samples=samples, texts=None if workers_of(store) else store.write_now(_drop_texts))


PRUNABLE = """
    SELECT id FROM samples WHERE id > ? AND status = 'done' AND pruned_at IS NULL
    AND run_id NOT IN (SELECT value FROM json_each(?)) AND run_id || '/' || key NOT IN (SELECT value FROM json_each(?))
    ORDER BY id LIMIT ?"""


def drop_history(db: Connection, samples: Collection[int]) -> None:
    """Drop the checkpoints of these samples, inside a change; from then on they cannot be forked."""
    ids = json.dumps(list(samples))
    drop_threads(db, samples)
    db.execute(f"UPDATE samples SET pruned_at = ? WHERE id IN (SELECT id {AMONG})", (now(), ids))  # noqa: S608


def drop_threads(db: Connection, samples: Collection[int]) -> None:
    """Drop the checkpoints of these samples, inside a change; they would begin anew."""
    ids = json.dumps(list(samples))
    db.execute(f"DELETE FROM threads WHERE name IN (SELECT run_id || '/' || key {AMONG})", (ids,))  # noqa: S608


AMONG = "FROM samples WHERE id IN (SELECT value FROM json_each(?))"


def references(db: Connection) -> Iterator[tuple[str, list[int], list[str]]]:
    """(table, ids, ropes) of each row that refers to texts; to SQLite, those in ropes are no references."""
    for table, ids, ropes in COLUMNS:
        for found in db.execute(f"SELECT {', '.join((*ids, *ropes))} FROM {table}"):  # noqa: S608
            yield table, [i for i in found[: len(ids)] if i], [rope for rope in found[len(ids) :] if rope]


COLUMNS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("samples", ("query_id", "reasoning_id", "answer_id", "refined_answer_id"), ("refined_reasoning", "history")),
    ("critiques", ("rationale_id",), ()),
    ("grades", ("explanation_id",), ()),
    ("calls", ("parameters_id", "reasoning_id"), ("messages", "reply")),
    ("checkpoint_values", (), ("texts",)),
)


def _drop_texts(db: Connection) -> int:
    """A bit for each text: a million of them take 122 KiB."""
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
        raise InputError(f"There is no run or sample {name!r} to keep.", where=str(store.path), todo="`muser runs`")
    return name
