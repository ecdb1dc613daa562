"""Where an evaluation lost points, against losses that are counted by hand."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from muser.core.types import RubricItem, SampleInput
from muser.store.file.database import Store
from muser.store.queries.losses import find_losses
from muser.store.records.runs import Run, create_run, list_runs
from muser.store.records.samples import add_samples, record_sample

RUBRIC = (
    RubricItem(criterion="Asks since when.", points=6, tags=("axis:context_awareness", "level:example")),
    RubricItem(criterion="Is clear.", points=4, tags=("axis:communication_quality",)),
    RubricItem(criterion="Gives a dose unasked.", points=-5, tags=("axis:accuracy",)),
)


async def grade(store: Store, run: str, key: str, met: list[bool | None], score: float | None) -> None:
    grades = [
        {"item": n, "points": item.points, "met": one, "explanation": "so"}
        for n, (item, one) in enumerate(zip(RUBRIC, met, strict=True))
    ]
    await record_sample(store, f"{run}/{key}", status="done", state={"query": key, "grades": grades, "score": score})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "muser.db") as opened:
        for run in ("base", "tuned"):
            create_run(opened, Run(id=run, name=run, recipe="", identity={}, fingerprint="f", kind="evaluation"))
            themed = {"example_tags": ["theme:hedging"]}
            given = [SampleInput(key=key, query=key, rubric=RUBRIC, extra=themed) for key in ("a", "b", "c")]
            add_samples(opened, run, given, 0)
        yield opened


async def test_each_missed_item_costs_its_share_of_the_mean_score(store: Store) -> None:
    await grade(store, "base", "a", [True, True, True], 0.5)
    await grade(store, "base", "b", [False, True, False], 0.4)
    await grade(store, "base", "c", [True, None, False], None)
    found = find_losses(store, "base")
    assert found.examples == 2
    assert found.score == pytest.approx(0.45)
    # 6 of 10 points in one of two examples, 5 of 10 in the other: together what the mean lacks to 1.
    assert {one.tag: (one.items, one.missed, one.lost) for one in found.tags} == {
        "theme:hedging": (6, 2, pytest.approx(55)),
        "axis:context_awareness": (2, 1, pytest.approx(30)),
        "axis:accuracy": (2, 1, pytest.approx(25)),
        "axis:communication_quality": (2, 0, 0),
    }
    first, second = found.criteria
    assert (first.criterion, first.axis, first.points, first.example) == (
        "Asks since when.",
        "context awareness",
        6,
        "base/b",
    )
    assert second.criterion == "Gives a dose unasked."
    assert [(one.sample, one.query) for one in found.worst] == [("base/b", "b"), ("base/a", "a")]
    assert found.not_judged == ("base/c",)


async def test_what_got_worse_comes_first_and_what_did_not_is_left_out(store: Store) -> None:
    for key, before, after in (("a", 0.5, 0.4), ("b", 0.9, 0.3), ("c", 0.2, 0.3)):
        await grade(store, "base", key, [True, True, False], before)
        await grade(store, "tuned", key, [True, True, False], after)
    found = find_losses(store, "tuned", against="base")
    assert [(one.sample, one.before, one.score) for one in found.worst] == [
        ("tuned/b", 0.9, 0.3),
        ("tuned/a", 0.5, 0.4),
    ]
    assert len(find_losses(store, "tuned", against="base", shown=1).worst) == 1


async def test_a_run_without_a_score_lost_nothing_yet(store: Store) -> None:
    found = find_losses(store, "base")
    assert (found.examples, found.score, found.tags, found.criteria, found.worst) == (0, None, (), (), ())


async def test_the_list_of_runs_has_the_mean_score_clipped_like_the_report(store: Store) -> None:
    await grade(store, "base", "a", [True, True, True], 0.5)
    await grade(store, "base", "b", [False, True, False], 0.4)
    await grade(store, "tuned", "a", [False, False, True], -0.5)
    scores = {line.id: line.score for line in list_runs(store)}
    assert scores == {"base": pytest.approx(0.45), "tuned": 0.0}
