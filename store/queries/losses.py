"""Where an evaluation lost points: by axis and theme, by criterion, by example, and against another run."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ...core.types import Value
from ..file.database import Store
from ..file.texts import get_texts

OPENING = 200
"""Characters of a query that are shown."""


class TagLoss(Value):
    """What the items of one axis or the examples of one theme cost."""

    tag: str
    """axis:NAME or theme:NAME"""
    items: int
    """rubric items that were judged"""
    missed: int
    """those of them that cost points: not met, or met with negative points"""
    lost: float
    """their share of the score, in percentage points of the score over all examples"""


class CriterionLoss(Value):
    """A criterion that cost points, over all examples whose rubric has it."""

    criterion: str
    """what the judge decided"""
    axis: str
    """the axis that it belongs to, in words"""
    points: float
    items: int
    """examples in which it was judged"""
    missed: int
    """those of them in which it cost points"""
    lost: float
    """their share of the score, in percentage points of the score over all examples"""
    example: str
    """the sample that lost most by it"""


class Worst(Value):
    """An example with a low score, or one that got worse."""

    sample: str
    score: float
    before: float | None = None
    """its score in the other run; none if no other run was named"""
    query: str
    """the beginning of its last turn"""


class Losses(Value):
    """Where an evaluation run lost points. Only examples that were judged completely count."""

    run: str
    against: str | None
    """the other run; none if none was named"""
    examples: int
    score: float | None
    """the mean over the examples, not clipped; none if there are none"""
    tags: tuple[TagLoss, ...]
    """axes and themes, the costliest first"""
    criteria: tuple[CriterionLoss, ...]
    """the costliest first"""
    worst: tuple[Worst, ...]
    """the lowest scores first; against another run, what got worse most first"""
    not_judged: tuple[str, ...]
    """samples with an item that got no verdict"""


class _Item(NamedTuple):
    sample: str
    criterion: int
    points: float
    tags: Sequence[str]
    met: bool
    lost: float  # of the example's score


def find_losses(store: Store, run_id: str, *, against: str | None = None, shown: int = 10) -> Losses:
    """Where the run lost points; with `against`, `worst` compares each example with the same key of that run."""
    samples = store.read(SAMPLES, {"run_id": run_id, "against": against})
    items = list(_items(store, run_id))
    count = len(samples)
    worse = sorted(samples, key=lambda row: row["score"] - (row["before"] or 0.0 if against else 0.0))
    if against:
        worse = [row for row in worse if row["before"] is not None and row["score"] < row["before"]]
    chosen = worse[:shown]
    with store.reader() as db:
        texts = get_texts(db, (row["query_id"] for row in chosen))
        worst = tuple(
            Worst(sample=row["id"], score=row["score"], before=row["before"], query=texts[row["query_id"]][:OPENING])
            for row in chosen
        )
        criteria = tuple(_criteria(items, count)[:shown])
        words = get_texts(db, (number for number, _ in criteria))
    return Losses(
        run=run_id,
        against=against,
        examples=count,
        score=sum(row["score"] for row in samples) / count if count else None,
        tags=tuple(_tags(items, count)),
        criteria=tuple(one.model_copy(update={"criterion": words[number]}) for number, one in criteria),
        worst=worst,
        not_judged=tuple(row["id"] for row in store.read(NOT_JUDGED, (run_id,))),
    )


SAMPLES = """
    SELECT a.run_id || '/' || a.key AS id, a.score, b.score AS before, a.query_id
    FROM samples a LEFT JOIN samples b ON b.run_id = :against AND b.key = a.key
    WHERE a.run_id = :run_id AND a.status = 'done' AND a.score IS NOT NULL ORDER BY a.id"""

ITEMS = """
    WITH possible AS (
        SELECT sample_id, sum(max(points, 0)) AS points FROM rubric_items JOIN samples ON samples.id = sample_id
        WHERE run_id = ? AND status = 'done' AND score IS NOT NULL GROUP BY sample_id)
    SELECT s.run_id || '/' || s.key AS sample, r.criterion_id, r.points, r.tags, g.met, p.points AS possible, s.extra
    FROM possible p JOIN samples s ON s.id = p.sample_id JOIN rubric_items r ON r.sample_id = s.id
    JOIN grades g ON g.sample_id = s.id AND g.item = r.item"""

NOT_JUDGED = """
    SELECT run_id || '/' || key AS id FROM samples
    WHERE run_id = ? AND status = 'done' AND EXISTS (SELECT 1 FROM grades WHERE sample_id = samples.id AND met IS NULL)
    ORDER BY id"""


def _items(store: Store, run_id: str) -> Iterator[_Item]:
    for row in store.read(ITEMS, (run_id,)):
        costs = (row["points"] > 0) != bool(row["met"])
        tags = [tag for tag in json.loads(row["tags"]) if tag.startswith("axis:")]
        tags += [tag for tag in json.loads(row["extra"] or "{}").get("example_tags", ()) if tag.startswith("theme:")]
        lost = abs(row["points"]) / row["possible"] if costs and row["possible"] else 0.0
        yield _Item(row["sample"], row["criterion_id"], row["points"], tags, bool(row["met"]), lost)


def _tags(items: Iterable[_Item], count: int) -> list[TagLoss]:
    by_tag: dict[str, list[_Item]] = defaultdict(list)
    for item in items:
        for tag in item.tags:
            by_tag[tag].append(item)
    found = [
        TagLoss(tag=tag, items=len(group), missed=_missed(group), lost=_lost(group, count))
        for tag, group in by_tag.items()
    ]
    return sorted(found, key=lambda one: -one.lost)


def _criteria(items: Iterable[_Item], count: int) -> list[tuple[int, CriterionLoss]]:
    """(id of the criterion's text, what it cost), the costliest first."""
    by_criterion: dict[tuple[int, float], list[_Item]] = defaultdict(list)
    for item in items:
        by_criterion[item.criterion, item.points].append(item)
    found = [
        (
            criterion,
            CriterionLoss(
                criterion="",
                axis=next((tag.removeprefix("axis:").replace("_", " ") for tag in group[0].tags), ""),
                points=points,
                items=len(group),
                missed=_missed(group),
                lost=_lost(group, count),
                example=max(group, key=lambda one: one.lost).sample,
            ),
        )
        for (criterion, points), group in by_criterion.items()
        if _missed(group)
    ]
    return sorted(found, key=lambda one: -one[1].lost)


def _missed(group: Sequence[_Item]) -> int:
    return sum(item.lost > 0 for item in group)


def _lost(group: Sequence[_Item], count: int) -> float:
    return 100 * sum(item.lost for item in group) / count
