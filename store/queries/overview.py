"""Counts and lists for pages on runs and samples: one query each, and none reads texts."""

import json
from typing import Any, NamedTuple

from ..file.database import Store

BINS = 60
"""Number of bars in a timeline."""


class Step(NamedTuple):
    """A checkpoint: its number in the sample's thread, what wrote it, and the bytes of its state."""

    id: str
    number: int
    source: str
    bytes: int


def coverage(store: Store, run_id: str) -> dict[str, dict[str, int]]:
    """Attribute → value → number of samples, most frequent first, without the samples that have no persona."""
    found: dict[str, dict[str, int]] = {}
    for row in store.read(COVERAGE, (run_id,)):
        found.setdefault(row["name"], {})[row["value"]] = row["n"]
    return found


COVERAGE = """
    SELECT name, value, count(*) AS n, min(id) OVER (PARTITION BY name) AS first
    FROM attribute_values JOIN sample_attributes ON value_id = id WHERE run_id = ?
    GROUP BY id ORDER BY first, n DESC, value"""


def timeline(store: Store, run_id: str) -> tuple[str, str, list[int]]:
    """When the run's first and last samples ended, and how many ended in each of BINS equal spans between."""
    rows = store.read(TIMELINE, {"run_id": run_id, "bins": BINS})
    if not rows:
        return "", "", []
    counts = dict.fromkeys(range(BINS), 0) | {row["bin"]: row["n"] for row in rows}
    return rows[0]["first"], rows[0]["last"], list(counts.values())


TIMELINE = """
    WITH ended AS (
        SELECT julianday(finished_at) AS at, finished_at FROM samples
        WHERE run_id = :run_id AND finished_at IS NOT NULL),
    span AS (SELECT min(at) AS low, max(at) AS high, min(finished_at) AS first, max(finished_at) AS last FROM ended)
    SELECT first, last, CASE WHEN high > low
        THEN min(CAST((at - low) / (high - low) * :bins AS INTEGER), :bins - 1) ELSE 0 END AS bin, count(*) AS n
    FROM ended, span GROUP BY bin"""


def steps_of(store: Store, sample_id: str) -> list[Step]:
    """The sample's checkpoints, oldest first."""
    # Checkpoint ids are UUIDv6, so they sort by time (langgraph/checkpoint/base/id.py).
    rows = store.read(STEPS, (sample_id,))
    metadata = [json.loads(row["metadata"]) for row in rows]
    return [
        Step(row["id"], about.get("step", 0), about.get("source", ""), row["bytes"])
        for row, about in zip(rows, metadata, strict=True)
    ]


STEPS = """
    SELECT c.id, c.metadata, length(c.state) AS bytes FROM checkpoints c JOIN threads t ON t.id = c.thread
    WHERE t.name = ? AND t.ns = '' ORDER BY c.id"""


def neighbours(store: Store, sample_id: str) -> tuple[str | None, str | None]:
    """The samples before and after this one in its run."""
    run_id, _, key = sample_id.rpartition("/")
    row = store.read(NEIGHBOURS, {"run_id": run_id, "key": key})[0]
    return row["before"], row["after"]


NEIGHBOURS = """
    WITH here AS (SELECT id FROM samples WHERE run_id = :run_id AND key = :key)
    SELECT (SELECT run_id || '/' || key FROM samples WHERE run_id = :run_id AND id < (SELECT id FROM here)
            ORDER BY id DESC LIMIT 1) AS before,
        (SELECT run_id || '/' || key FROM samples WHERE run_id = :run_id AND id > (SELECT id FROM here)
            ORDER BY id LIMIT 1) AS after"""


def version(store: Store) -> str:
    """A string that changes whenever a call, run, worker or artifact is added, removed or finished."""
    # Not PRAGMA data_version, which is comparable only within one connection, and readers are lent any of several.
    row: dict[str, Any] = store.read(VERSION)[0]
    return ".".join(str(value) for value in row.values())


VERSION = """
    SELECT (SELECT coalesce(sum(calls + reused), 0) FROM usage) AS calls,
        (SELECT count(*) || '-' || count(finished_at) FROM runs) AS runs,
        (SELECT count(*) FROM workers) AS workers, (SELECT coalesce(max(id), 0) FROM artifacts) AS artifacts"""
