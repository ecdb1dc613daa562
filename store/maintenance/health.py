"""Whether a store is sound: pages that SQLite cannot read, an altered schema, contradictions, the samples concerned."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

from ...core.errors import StoreError
from ...core.types import Value
from ..file.connections import connect_reader, translated
from ..file.database import Store
from ..records.ledger import calls_of
from ..records.samples import get_trace
from .consistency import MOST, contradictions

SMALLEST = 16
"""Bytes that a row of samples takes at least."""


class Health(Value):
    """A store's condition. `corrupted` has SQLite's complaints by table, `broken` what its rows contradict.

    `unreadable` names the first samples that cannot be read whole, `unreadable_samples` counts them all.
    """

    corrupted: dict[str, list[str]]
    broken: list[str]
    unreadable: list[str]
    unreadable_samples: int
    samples: int

    @property
    def is_sound(self) -> bool:
        """Is nothing wrong?"""
        return not (self.corrupted or self.broken or self.unreadable_samples)


def check_store(store: Store) -> Health:
    """Read everything as of one moment, also while runs are at work. Takes a while, and changes nothing.

    DamagedDatabase where SQLite cannot even read the list of tables.
    """
    # A connection of its own: what a corrupted page left in a lent one's cache must not stay.
    with translated(store.path), closing(connect_reader(store.path)) as db:
        # Altered text need not be UTF-8.
        db.text_factory = lambda data: data.decode("utf-8", "replace")
        # One snapshot for all that follows: what a run commits meanwhile must not look like a contradiction.
        db.execute("BEGIN")
        corrupted = _complaints(db)
        broken = [] if corrupted else list(contradictions(db))
        samples = _count(db, "samples")
    unreadable = list(_unreadable(store)) if corrupted or broken else []
    return Health(
        corrupted=corrupted,
        broken=broken,
        unreadable=unreadable[:MOST],
        unreadable_samples=len(unreadable),
        samples=samples,
    )


def _complaints(db: sqlite3.Connection) -> dict[str, list[str]]:
    """By table, its indexes included; what belongs to no table is under the file's name."""
    from ..file.schema import altered_objects

    if altered := list(altered_objects(db)):
        return {"(the schema)": altered}
    whole = _integrity(db, "PRAGMA integrity_check(1)")
    if not whole:
        return {}
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    found = {table: _integrity(db, f'PRAGMA integrity_check("{table}")') for table in tables}
    corrupted = {table: complaints for table, complaints in found.items() if complaints}
    return corrupted or {"(the file)": whole}


def _integrity(db: sqlite3.Connection, pragma: str) -> list[str]:
    try:
        said = [line for (text,) in db.execute(pragma) for line in text.splitlines()]
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return [line for line in said if line != "ok" and not line.startswith("***")][:MOST]


def _count(db: sqlite3.Connection, table: str) -> int:
    try:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608
    except sqlite3.DatabaseError:
        return 0


def _unreadable(store: Store) -> Iterator[str]:
    for name in _names(store):
        try:
            get_trace(store, name)
            calls_of(store, name)
            _read_steps(store, name)
        except Exception:  # noqa: BLE001 - altered bytes can make any layer fail, and then the sample cannot be read
            yield name


def _names(store: Store) -> list[str]:
    """Every sample, from the index of names, which is whole where the table's own pages are not; else what is left."""
    try:
        return [row["name"] for row in store.read(NAMES)]
    except (StoreError, sqlite3.Error):
        return [f"{row['run_id']}/{row['key']}" for row in _rows(store)]


# An altered row may have NULL where the schema allows none.
NAMES = """
    SELECT coalesce(run_id, '') || '/' || coalesce(key, '') AS name
    FROM samples INDEXED BY sqlite_autoindex_samples_1 ORDER BY run_id, key"""


def _rows(store: Store) -> Iterator[dict[str, Any]]:
    """One by one, since a corrupted page ends any longer query."""
    with suppress(StoreError, sqlite3.Error):
        last = store.read("SELECT max(id) AS n FROM samples")[0]["n"] or 0
        # An altered id may be any number.
        for number in range(1, min(last, store.path.stat().st_size // SMALLEST) + 1):
            with suppress(StoreError, sqlite3.Error):
                yield from store.read("SELECT run_id, key FROM samples WHERE id = ?", (number,))


def _read_steps(store: Store, sample: str) -> None:
    """Everything that the sample's checkpoints are made of."""
    with store.reader() as db:
        for (thread,) in db.execute("SELECT id FROM threads WHERE name = ?", (sample,)).fetchall():
            for table in ("checkpoints", "checkpoint_values", "writes"):
                db.execute(f"SELECT * FROM {table} WHERE thread = ?", (thread,)).fetchall()  # noqa: S608
