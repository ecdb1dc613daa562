"""Rubrics: what a judge decides about the response of an evaluation's sample."""

import json
from collections.abc import Sequence
from sqlite3 import Connection

from ...core.types import RubricItem
from ..file.texts import get_texts, put_texts


def add_rubric(db: Connection, sample: int, rubric: Sequence[RubricItem]) -> None:
    """Write a new sample's rubric, inside a change."""
    ids = put_texts(db, [item.criterion for item in rubric])
    rows = [(sample, n, item.points, json.dumps(item.tags), ids[item.criterion]) for n, item in enumerate(rubric)]
    db.executemany("INSERT INTO rubric_items VALUES (?, ?, ?, ?, ?)", rows)


def get_rubric(db: Connection, sample: int) -> tuple[RubricItem, ...]:
    """The sample's rubric; empty if no judge will see it."""
    sql = "SELECT criterion_id, points, tags FROM rubric_items WHERE sample_id = ? ORDER BY item"
    rows = db.execute(sql, (sample,)).fetchall()
    if not rows:
        return ()
    texts = get_texts(db, (criterion for criterion, _, _ in rows))
    return tuple(RubricItem(criterion=texts[i], points=points, tags=json.loads(tags)) for i, points, tags in rows)
