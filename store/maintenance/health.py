"""Checks a store: pages that SQLite cannot read, an altered schema, inconsistent rows, and the affected samples."""

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
"""The smallest size of a row in `samples`, in bytes."""


class Health(Value):
    """A store's condition. `corrupted` has SQLite's errors by table, `broken` the inconsistencies between rows.

    `unreadable` names the first samples that cannot be read completely, `unreadable_samples` counts them all.
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
    """Check one snapshot of the whole store, even while runs write to it. Reads every page and changes nothing.

    Raises DamagedDatabase if SQLite cannot even read the list of tables.
    """
    # A separate connection: one of the store's own would keep corrupted pages in its cache.
    with translated(store.path), closing(connect_reader(store.path)) as db:
        # Altered text may not be valid UTF-8.
        db.text_factory = lambda data: data.decode("utf-8", "replace")
        # One read transaction, so one snapshot: commits of an active run must not look like inconsistencies
        # (sqlite.org/isolation.html).
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
    """Errors by table, its indexes included; errors outside any table are under `(the file)`."""
    from ..file.schema import altered_objects

    if altered := list(altered_objects(db)):
        return {"(the schema)": altered}
    # The number limits the errors. A sound store needs only this pass; a corrupted one is read again, table by table,
    # to show where (sqlite.org/pragma.html#pragma_integrity_check).
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
    """Every sample, from the index of names, which may be readable although the table is not; else what can be read."""
    try:
        return [row["name"] for row in store.read(NAMES)]
    except (StoreError, sqlite3.Error):
        return [f"{row['run_id']}/{row['key']}" for row in _rows(store)]


# An altered row may have NULL where the schema allows none.
NAMES = """
    SELECT coalesce(run_id, '') || '/' || coalesce(key, '') AS name
    FROM samples INDEXED BY sqlite_autoindex_samples_1 ORDER BY run_id, key"""


def _rows(store: Store) -> Iterator[dict[str, Any]]:
    """Row by row, because any query that meets a corrupted page stops there."""
    with suppress(StoreError, sqlite3.Error):
        last = store.read("SELECT max(id) AS n FROM samples")[0]["n"] or 0
        # An altered id may be huge, so the file's size limits the search.
        for number in range(1, min(last, store.path.stat().st_size // SMALLEST) + 1):
            with suppress(StoreError, sqlite3.Error):
                yield from store.read("SELECT run_id, key FROM samples WHERE id = ?", (number,))


def _read_steps(store: Store, sample: str) -> None:
    """Read all rows of the sample's checkpoints; SQLite raises if one of their pages is corrupted."""
    with store.reader() as db:
        for (thread,) in db.execute("SELECT id FROM threads WHERE name = ?", (sample,)).fetchall():
            for table in ("checkpoints", "checkpoint_values", "writes"):
                db.execute(f"SELECT * FROM {table} WHERE thread = ?", (thread,)).fetchall()  # noqa: S608
