"""Forks: samples that start from another sample's checkpoint, in a separate run whose recipe may differ."""

from collections.abc import Iterable, Mapping
from sqlite3 import Connection
from typing import Any, NamedTuple

from ...core.types import SampleStatus
from ..file.database import Store
from .samples import record_state, row_id


class ForkPoint(NamedTuple):
    """Where a fork starts: the original sample, its checkpoint, and the fork's initial state."""

    sample: str
    checkpoint: str
    state: Mapping[str, Any]


def add_forks(store: Store, run_id: str, points: Iterable[ForkPoint]) -> list[str]:
    """Add a pending fork for each point that has none yet, under its sample's key; returns all the forks' ids."""
    wanted = list(points)

    def change(db: Connection) -> list[str]:
        return [_add(db, run_id, point) for point in wanted]

    return store.write_now(change)


def _add(db: Connection, run_id: str, point: ForkPoint) -> str:
    fork = f"{run_id}/{point.sample.rpartition('/')[2]}"
    if db.execute(ADD, (run_id, point.sample, point.checkpoint, row_id(db, point.sample))).rowcount:
        record_state(db, row_id(db, fork), point.state)
    return fork


# A call's seed depends on the sample's seed and tries. A fork copies both, so that unchanged calls are in the ledger.
ADD = """
    INSERT INTO samples (run_id, key, seed, tries, history, extra, simulated, origin, forked_from)
    SELECT ?, key, seed, tries, history, extra, simulated, ?, ? FROM samples WHERE id = ?
    ON CONFLICT (run_id, key) DO NOTHING"""


def forks_of(store: Store, sample_id: str) -> list[str]:
    """The ids of a sample's forks, oldest first."""
    rows = store.read(
        "SELECT run_id || '/' || key AS fork FROM samples WHERE origin = ? AND forked_from IS NOT NULL ORDER BY id",
        (sample_id,),
    )
    return [row["fork"] for row in rows]


def origins_of(store: Store, run_id: str, status: SampleStatus) -> list[str]:
    """The originals of the run's forks that have this status."""
    rows = store.read("SELECT origin FROM samples WHERE run_id = ? AND status = ? ORDER BY id", (run_id, status))
    return [row["origin"] for row in rows]
