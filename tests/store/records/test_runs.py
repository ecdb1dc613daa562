import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from muser.core.types import Message, Reply, SampleInput, Usage
from muser.store.file.database import Store
from muser.store.records.ledger import Call, record_call
from muser.store.records.runs import Run, create_run, find_run, latest_run, list_runs, next_run_id, start_run
from muser.store.records.samples import add_samples, record_sample, take_pending


def test_a_run_comes_back_as_it_was_recorded(store: Store, run: Run) -> None:
    assert run.created_at.endswith("Z")
    assert find_run(store, "demo") == run
    assert find_run(store, "other") is None


def test_the_latest_run_of_a_name_is_the_one_recorded_last(store: Store, run: Run) -> None:
    second = create_run(store, run.model_copy(update={"id": "demo-2"}))
    create_run(store, run.model_copy(update={"id": "demo-x", "name": "demo-x"}))
    assert latest_run(store, "demo") == second
    assert latest_run(store, "nothing") is None


@pytest.mark.parametrize(
    ("taken", "free"),
    [
        ([], "n"),
        (["n"], "n-2"),
        (["n", "n-2", "n-3"], "n-4"),
        (["n", "n-3"], "n-2"),
        (["n-2"], "n"),
        (["n", "n-tuned", "na"], "n-2"),
    ],
)
def test_the_next_run_of_a_name_gets_a_number_that_is_free(store: Store, run: Run, taken: list[str], free: str) -> None:
    for run_id in taken:
        create_run(store, run.model_copy(update={"id": run_id, "name": "n"}))
    assert next_run_id(store, "n") == free


def test_processes_that_start_at_the_same_time_get_the_same_run(path: Path, run: Run) -> None:
    described, start = run.model_copy(update={"id": "n", "name": "n"}), threading.Barrier(8)

    def race(_: int) -> Run:
        with Store.open(path) as store:
            start.wait()
            return start_run(store, described)

    with ThreadPoolExecutor(8) as racers:
        assert len({started.created_at for started in racers.map(race, range(8))}) == 1
    with Store.open(path) as store:
        assert [start_run(store, described).id, start_run(store, described, new=True).id] == ["n", "n-2"]


async def test_the_list_says_what_became_of_each_runs_samples_and_what_they_cost(store: Store, run: Run) -> None:
    create_run(store, run.model_copy(update={"id": "empty"}))
    add_samples(store, run.id, [SampleInput(key=f"s{n}", query="q") for n in range(4)], 1)
    await take_pending(store, run.id, 3)
    await record_sample(store, "demo/s0", status="done", state={})
    await record_sample(store, "demo/s1", status="failed", state={}, cause=ValueError("x"))
    call = Call(
        sample_id="demo/s0", role="responder", request_hash="00" * 32, model="m",
        messages=(Message(role="user", content="q"),),
        parameters={}, reply=Reply(text="a", usage=Usage(tokens_in=5, tokens_out=3, tokens_cached=2)), outcome="ok",
    )  # fmt: skip
    await record_call(store, call)
    await record_call(store, call.model_copy(update={"role": "refiner"}))
    empty, line = list_runs(store)
    assert (line.total, line.done, line.failed, line.pending, line.running) == (4, 1, 1, 1, 1)
    assert (line.calls, line.tokens_in, line.tokens_out, line.tokens_cached) == (2, 10, 6, 4)
    assert (empty.id, empty.total, empty.calls) == ("empty", 0, 0)
