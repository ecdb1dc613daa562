import pytest

from muser.core.errors import InputError
from muser.store.file.database import Store
from muser.store.file.texts import put_text
from muser.store.records.history import BATCH, Pruned, prune
from muser.store.records.ledger import calls_of, usage_by_role
from muser.store.records.runs import Run, create_run
from muser.store.records.samples import get_trace, record_sample
from muser.store.records.workers import at_work

from ..filled import fill


def with_steps(store: Store) -> list[str]:
    """Names of the samples that have every part of a step history."""
    return [
        row["name"]
        for row in store.read(
            """SELECT name FROM threads WHERE id IN (SELECT thread FROM checkpoints)
            AND id IN (SELECT thread FROM checkpoint_values) AND id IN (SELECT thread FROM writes) ORDER BY name"""
        )
    ]


async def test_finished_samples_lose_their_steps_and_nothing_else(store: Store, run: Run) -> None:
    ids = await fill(store, run.id, 3, unfinished=1)
    before = [(get_trace(store, one), calls_of(store, one)) for one in ids]
    usage = usage_by_role(store, run.id)
    assert with_steps(store) == ids
    assert prune(store) == Pruned(samples=3, texts=0)
    assert with_steps(store) == ids[3:]
    after = [(get_trace(store, one), calls_of(store, one)) for one in ids]
    assert [trace.pruned_at is not None for trace, _ in after] == [True, True, True, False]
    assert [(trace.model_copy(update={"pruned_at": None}), calls) for trace, calls in after] == before
    assert usage_by_role(store, run.id) == usage
    assert prune(store) == Pruned(samples=0, texts=0), "there is nothing left to drop"


async def test_runs_and_samples_that_are_to_be_kept_are_kept(store: Store, run: Run) -> None:
    create_run(store, run.model_copy(update={"id": "demo-2"}))
    first, second = await fill(store, run.id, 3), await fill(store, "demo-2", 2)
    assert prune(store, keep=["demo-2", "demo/s001"]).samples == 2
    assert with_steps(store) == [*second, first[1]]


def test_what_is_to_be_kept_must_exist(store: Store, run: Run) -> None:
    for name in ("demo/s9", "dem", "nowhere/s1"):
        with pytest.raises(InputError, match=name):
            prune(store, keep=[run.id, name])


async def test_texts_that_nobody_refers_to_go_and_all_others_stay(store: Store, run: Run) -> None:
    (sample,) = await fill(store, run.id, 1)
    store.write_now(lambda db: [put_text(db, f"left over {n}") for n in range(5)])
    await record_sample(
        store,
        sample,
        status="done",
        state={
            "query": "?",
            "response": {"reasoning": "why", "answer": "rest"},
            "critiques": [{"critic": "safety", "verdict": "pass", "rationale": "It is safe.", "round": 1}],
            "refinement": {"reasoning": "why. It is safe.", "answer": "do rest"},
            "grades": [{"item": 0, "points": 1, "met": True, "explanation": "It says so."}],
        },
    )
    before = get_trace(store, sample), calls_of(store, sample)
    assert prune(store).texts == 6, "those, and the reasoning that the former row had, which was empty"
    trace, calls = get_trace(store, sample), calls_of(store, sample)
    assert (trace.model_copy(update={"pruned_at": None}), calls) == before


async def test_while_a_run_is_at_work_texts_are_left_alone(store: Store, run: Run) -> None:
    await fill(store, run.id, 1)
    store.write_now(lambda db: put_text(db, "left over"))
    with at_work(store, run.id):
        assert prune(store) == Pruned(samples=1, texts=None)
    assert prune(store).texts == 1


async def test_more_samples_than_a_transaction_takes_are_pruned(store: Store, run: Run) -> None:
    await fill(store, run.id, BATCH + 1)
    assert prune(store).samples == BATCH + 1
    assert with_steps(store) == []


async def test_a_sample_can_be_recorded_without_its_history(store: Store, run: Run) -> None:
    first, second = await fill(store, run.id, 0, unfinished=2)
    await record_sample(store, first, status="done", state={}, without_history=True)
    assert with_steps(store) == [second]
    assert get_trace(store, first).pruned_at
