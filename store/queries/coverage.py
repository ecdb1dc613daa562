"""What coverage and diversity are computed from: the personas and queries of a run's accepted samples."""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

from ...core.types import Persona
from ..file.database import Store
from ..file.texts import get_texts
from ..records.samples import DRAWN, TOPPED_UP


class Accepted(NamedTuple):
    """A run's accepted samples: all, those drawn from the attribute tables, and those that a top-up added."""

    all: int
    drawn: int
    topped_up: int


def count_accepted(store: Store, run_id: str) -> Accepted:
    """All counts are 0 if there is no such run."""
    return Accepted(**store.read(COUNT, {"run": run_id, "drawn": DRAWN, "topped_up": TOPPED_UP})[0])


COUNT = """
    SELECT count(*) AS "all", coalesce(sum(key GLOB :drawn), 0) drawn, coalesce(sum(key GLOB :topped_up), 0) topped_up
    FROM samples WHERE run_id = :run AND status = 'done'"""


def accepted_personas(store: Store, run_id: str) -> Iterator[Persona]:
    """The personas of the accepted samples, in their order."""
    sql = "SELECT persona FROM samples WHERE run_id = ? AND status = 'done' AND persona IS NOT NULL ORDER BY id"
    with closing(store.stream(sql, (run_id,))) as rows:
        for (persona,) in rows:
            yield json.loads(persona)


def accepted_queries(store: Store, run_id: str, most: int) -> list[str]:
    """The queries of the accepted samples in their order; of more than `most` queries every n-th."""
    sql = "SELECT query_id FROM samples WHERE run_id = ? AND status = 'done' AND query_id IS NOT NULL ORDER BY id"
    ids = [row["query_id"] for row in store.read(sql, (run_id,))]
    chosen = ids[:: max(1, -(-len(ids) // most))]
    found: list[str] = []
    with store.reader() as db:
        for first in range(0, len(chosen), CHUNK):
            some = chosen[first : first + CHUNK]
            texts = get_texts(db, some)
            found += [texts[i] for i in some]
    return found


CHUNK = 500


def count_pairs(store: Store, run_id: str, first: str, second: str) -> dict[tuple[str, str], int]:
    """(value of one attribute, value of another) → accepted samples with both."""
    rows = store.read(PAIRS, {"run": run_id, "first": first, "second": second})
    return {(row["a"], row["b"]): row["n"] for row in rows}


PAIRS = """
    SELECT persona ->> :first AS a, persona ->> :second AS b, count(*) AS n FROM samples
    WHERE run_id = :run AND status = 'done' AND a IS NOT NULL AND b IS NOT NULL GROUP BY a, b"""
