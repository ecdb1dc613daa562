"""What is hurt in a store: pages that SQLite cannot read, references that lead nowhere, and the samples concerned."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from ..core.errors import MuserError, StoreError
from ..core.types import Value
from .connections import connect_reader, translated
from .database import Store
from .history import referred_texts
from .ledger import calls_of
from .samples import get_trace

MOST = 20
"""Complaints of SQLite about one table, and samples named, in a report."""


class Health(Value):
    """A store's condition. `hurt` has SQLite's complaints by table, `broken` references and sums that do not hold.

    `unreadable` names the first samples that cannot be read whole, `unreadable_samples` counts them all.
    """

    hurt: dict[str, list[str]]
    broken: list[str]
    unreadable: list[str]
    unreadable_samples: int
    samples: int

    @property
    def is_sound(self) -> bool:
        """Is nothing wrong?"""
        return not (self.hurt or self.broken or self.unreadable_samples)


def check_store(store: Store) -> Health:
    """Read everything there is. Takes a while, and changes nothing. DamagedDatabase if not even the tables are told."""
    with translated(store.path):
        # A connection of its own: what a hurt page left in a lent one's cache must not stay.
        db = connect_reader(store.path)
        try:
            hurt = _complaints(db)
            broken = [] if hurt else [*_foreign(db), *_texts(db), *_accounts(db)]
            samples = _count(db, "samples")
        finally:
            db.close()
    unreadable = list(_unreadable(store)) if hurt or broken else []
    return Health(
        hurt=hurt,
        broken=broken,
        unreadable=unreadable[:MOST],
        unreadable_samples=len(unreadable),
        samples=samples,
    )


def _complaints(db: sqlite3.Connection) -> dict[str, list[str]]:
    """By table, its indexes included; what belongs to no table is under the file's name."""
    whole = _integrity(db, "PRAGMA integrity_check(1)")
    if not whole:
        return {}
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    found = {table: _integrity(db, f'PRAGMA integrity_check("{table}")') for table in tables}
    hurt = {table: complaints for table, complaints in found.items() if complaints}
    return hurt or {"(the file)": whole}


def _integrity(db: sqlite3.Connection, pragma: str) -> list[str]:
    try:
        said = [line for (text,) in db.execute(pragma) for line in text.splitlines()]
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return [line for line in said if line != "ok" and not line.startswith("***")][:MOST]


def _foreign(db: sqlite3.Connection) -> Iterator[str]:
    found = Counter((table, parent) for table, _, parent, _ in db.execute("PRAGMA foreign_key_check"))
    for (table, parent), rows in found.items():
        yield f"{rows} rows of {table} refer to {parent} that are not there"


def _texts(db: sqlite3.Connection) -> Iterator[str]:
    """The ids in ropes are no foreign keys of SQLite's."""
    there = bytearray((db.execute("SELECT coalesce(max(id), 0) FROM texts").fetchone()[0] >> 3) + 1)
    for (i,) in db.execute("SELECT id FROM texts"):
        there[i >> 3] |= 1 << (i & 7)

    def is_there(i: int) -> bool:
        return i >> 3 < len(there) and bool(there[i >> 3] >> (i & 7) & 1)

    rows = Counter(table for table, _, ids in referred_texts(db) if not all(map(is_there, ids)))
    for table, count in rows.items():
        yield f"{count} rows of {table} quote texts that are not there"


def _accounts(db: sqlite3.Connection) -> Iterator[str]:
    for (run,) in db.execute(DIFFERENT):
        yield f"the accounts of run {run} are not the sums of its calls"


DIFFERENT = """
    WITH made AS (
        SELECT run_id, role, outcome, sum(reused_from IS NULL) calls, sum((reused_from IS NULL) * tokens_in) tokens_in,
            sum((reused_from IS NULL) * tokens_out) tokens_out
        FROM calls JOIN samples ON samples.id = sample_id GROUP BY run_id, role, outcome)
    SELECT DISTINCT made.run_id FROM made LEFT JOIN accounts USING (run_id, role, outcome)
    WHERE accounts.calls IS NOT made.calls OR accounts.tokens_in IS NOT made.tokens_in
        OR accounts.tokens_out IS NOT made.tokens_out"""


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
        except (MuserError, sqlite3.Error):
            yield name


def _names(store: Store) -> list[str]:
    """Every sample, from the index of names, which is whole where the table's own pages are not; else what is left."""
    try:
        return [row["name"] for row in store.read(NAMES)]
    except StoreError:
        return [f"{row['run_id']}/{row['key']}" for row in _rows(store)]


NAMES = "SELECT run_id || '/' || key AS name FROM samples INDEXED BY sqlite_autoindex_samples_1 ORDER BY run_id, key"


def _rows(store: Store) -> Iterator[dict[str, Any]]:
    """One by one, since a hurt page ends any longer query."""
    with suppress(StoreError):
        for number in range(1, (store.read("SELECT max(id) AS n FROM samples")[0]["n"] or 0) + 1):
            with suppress(StoreError):
                yield from store.read("SELECT run_id, key FROM samples WHERE id = ?", (number,))


def _read_steps(store: Store, sample: str) -> None:
    """Everything that the sample's checkpoints are made of."""
    with store.reader() as db:
        for (thread,) in db.execute("SELECT id FROM threads WHERE name = ?", (sample,)).fetchall():
            for table in ("checkpoints", "checkpoint_values", "writes"):
                db.execute(f"SELECT * FROM {table} WHERE thread = ?", (thread,)).fetchall()  # noqa: S608
