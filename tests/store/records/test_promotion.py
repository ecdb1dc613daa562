"""Forks promoted into a run of their original's other samples."""

import asyncio
import sqlite3

import pytest

from muser.core.errors import InputError
from muser.core.types import SampleInput
from muser.store.file.database import Store
from muser.store.queries.export import rows
from muser.store.records.forks import ForkPoint, add_forks
from muser.store.records.promotion import promote
from muser.store.records.runs import Run, create_run, find_run
from muser.store.records.samples import add_samples, get_trace, record_sample


def finish(store: Store, sample: str, answer: str, status: str = "done") -> None:
    state = {
        "query": "Why?",
        "response": {"reasoning": "", "answer": "First."},
        "critiques": [{"critic": "safety", "verdict": "revise", "rationale": f"We want {answer}", "round": 1}],
        "refinement": {"reasoning": "We think.", "answer": answer},
        "round": 1,
    }
    asyncio.run(record_sample(store, sample, status=status, state=state))  # type: ignore[arg-type]


def fork(store: Store, run: Run, run_id: str, parent: str, *keys: str) -> None:
    about = {"name": "demo-fork", "parent": parent, "node": "safety", "prompts": {"critics.safety": "new"}}
    create_run(store, run.model_copy(update={"id": run_id} | about))
    for name in add_forks(store, run_id, [ForkPoint(f"{parent}/{key}", "c", {"query": "Why?"}) for key in keys]):
        finish(store, name, f"Of {run_id}.")


@pytest.fixture
def forked(store: Store, run: Run) -> Store:
    """A run of four samples, the last of which failed; forks of the first two, and a fork of the second one's fork."""
    add_samples(store, run.id, [SampleInput(key=f"s{n}") for n in range(4)], 1)
    for n in range(4):
        finish(store, f"demo/s{n}", "Of demo.", "failed" if n == 3 else "done")
    fork(store, run, "demo-fork", "demo", "s0", "s1")
    fork(store, run, "demo-fork-2", "demo-fork", "s1")
    return store


def answers(store: Store, run_id: str) -> list[str]:
    return [row["completion"][0]["content"].rpartition("\n")[2] for row in rows(store, run_id, "refine")]


def test_a_run_of_forks_takes_the_place_of_its_originals(forked: Store) -> None:
    made = promote(forked, ["demo-fork"])
    assert (made.run_id, made.parent, made.samples) == ("demo-promoted", "demo", 3)
    assert answers(forked, made.run_id) == ["Of demo-fork.", "Of demo-fork.", "Of demo."]
    assert answers(forked, "demo") == ["Of demo."] * 3
    wrote = [row["prompts"] for row in rows(forked, made.run_id, "refine")]
    assert wrote == [{"critics.safety": "new"}, {"critics.safety": "new"}, {"persona": "p"}], (
        "each row says who wrote it"
    )
    first = get_trace(forked, "demo-promoted/s0")
    assert (first.origin, first.seed) == ("demo-fork/s0", get_trace(forked, "demo/s0").seed)
    assert first.critiques == get_trace(forked, "demo-fork/s0").critiques
    assert get_trace(forked, "demo-promoted/s2").origin == "demo/s2"
    run = find_run(forked, made.run_id)
    assert run is not None
    assert (run.status, run.parent, run.changes) == ("done", "demo", ("2 samples are forks of demo-fork",))


def test_forks_of_forks_take_the_place_of_the_first_original(forked: Store) -> None:
    made = promote(forked, ["demo-fork/s0", "demo-fork-2/s1"])
    assert made.replaced == {"demo/s0": "demo-fork/s0", "demo/s1": "demo-fork-2/s1"}
    assert answers(forked, made.run_id) == ["Of demo-fork.", "Of demo-fork-2.", "Of demo."]
    assert promote(forked, ["demo-fork/s0"]).run_id == "demo-promoted-2"


def test_what_cannot_be_promoted_is_refused_and_leaves_no_run(forked: Store, run: Run) -> None:
    fork(forked, run, "demo-fork-3", "demo", "s2")
    forked.write_now(
        lambda db: db.execute("UPDATE samples SET status = 'failed' WHERE run_id = 'demo-fork-3'").rowcount
    )
    create_run(forked, run.model_copy(update={"id": "other"}))
    add_samples(forked, "other", [SampleInput(key="s9")], 1)
    fork(forked, run, "other-fork", "other", "s9")
    for names, said in (
        (["demo/s0"], "it is not a fork"),
        (["demo-fork", "demo-fork-2"], "are forks of the same sample"),
        (["demo-fork", "other-fork"], "forks of several runs: demo, other"),
        (["demo-fork-3/s2"], "it is failed"),
        (["demo-fork-3"], "no finished fork"),
    ):
        with pytest.raises(InputError, match=said):
            promote(forked, names)
    assert find_run(forked, "demo-promoted") is None


def test_a_promotion_that_does_not_come_to_its_end_leaves_no_run(forked: Store) -> None:
    refuse = "CREATE TRIGGER refuse BEFORE INSERT ON critiques BEGIN SELECT raise(ABORT, 'no'); END"
    forked.write_now(lambda db: db.execute(refuse).rowcount)
    with pytest.raises(sqlite3.IntegrityError):
        promote(forked, ["demo-fork"])
    assert find_run(forked, "demo-promoted") is None
