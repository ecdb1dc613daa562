"""Counts over a run, against samples that are counted by hand."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from muser.core.types import SampleInput
from muser.store.file.database import Store
from muser.store.queries.tallies import Tally, tally_run, verdicts_of
from muser.store.records.runs import Run, create_run
from muser.store.records.samples import add_samples, record_sample

ANSWER = {"reasoning": "", "answer": "Rest."}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "muser.db") as opened:
        create_run(opened, Run(id="r", name="r", recipe="", identity={}, fingerprint="f"))
        add_samples(opened, "r", [SampleInput(key=f"q{n}", query="?") for n in range(5)], 0)
        yield opened


async def test_each_end_is_counted_where_it_belongs(store: Store) -> None:
    critique = {"critic": "safety", "verdict": "revise", "rationale": "We should.", "round": 1}
    state = {"query": "?", "response": ANSWER, "critiques": [critique]}
    await record_sample(store, "r/q0", status="done", state=state | {"refinement": ANSWER})
    await record_sample(store, "r/q1", status="done", state=state)
    await record_sample(store, "r/q2", status="done", state={"query": "?", "response": ANSWER})
    await record_sample(store, "r/q3", status="failed", state=state, cause=ValueError("no"))
    tally = tally_run(store, "r")
    assert (tally.samples, tally.done, tally.failed, tally.pending) == (5, 3, 1, 1)
    assert (tally.answered, tally.critiqued, tally.refined) == (4, 2, 1)
    assert verdicts_of(store, "r") == {"safety": {"revise": 2}}


async def test_grades_are_counted_of_samples_that_are_done(store: Store) -> None:
    grades = [{"item": n, "points": 1, "met": met, "explanation": "so"} for n, met in enumerate([True, False, None])]
    await record_sample(store, "r/q0", status="done", state={"query": "?", "grades": grades})
    await record_sample(store, "r/q1", status="failed", state={"query": "?", "grades": grades}, cause=ValueError("no"))
    tally = tally_run(store, "r")
    assert (tally.grades, tally.grades_failed) == (3, 1)


def test_a_run_that_is_not_there_has_none(store: Store) -> None:
    assert tally_run(store, "other") == Tally(**dict.fromkeys(Tally.model_fields, 0))
