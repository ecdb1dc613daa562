import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from muser.core.errors import RunBusy
from muser.core.types import SampleInput
from muser.store.file.database import Store
from muser.store.records.runs import Run, create_run, find_run, list_runs
from muser.store.records.samples import add_samples, counts, get_trace, record_sample, take_pending
from muser.store.records.workers import abandoned, at_work, release_samples, workers_of

AT_WORK = """
import asyncio, sys, time
from muser.store.file.database import Store
from muser.store.records.samples import take_pending
from muser.store.records.workers import at_work

with Store.open(sys.argv[1]) as store, at_work(store, "demo", join=True) as worker:
    asyncio.run(take_pending(store, "demo", int(sys.argv[2]), worker))
    print(worker, flush=True)
    sys.stdin.read()
"""


@contextmanager
def another(path: Path, claims: int = 0) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A process at work on the run that has claimed so many samples, with its worker's id; it ends with its stdin."""
    command = [sys.executable, "-c", AT_WORK, str(path), str(claims)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def beside(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir() if "-worker-" in file.name)


def test_a_run_has_one_process_unless_the_others_join(store: Store, run: Run, path: Path) -> None:
    with another(path) as (process, worker):
        with pytest.raises(RunBusy, match=f"process {process.pid}") as caught, at_work(store, run.id):
            pytest.fail("entered")
        assert "--workers" in caught.value.todo
        with at_work(store, run.id, join=True) as joined:
            assert [one.id for one in workers_of(store, run.id)] == [worker, joined]
            assert [one.pid for one in workers_of(store)] == [process.pid, os.getpid()]
        assert beside(path) == [f"muser.db-worker-{worker}"]
    assert workers_of(store) == []


def test_runs_do_not_keep_each_other_out(store: Store, run: Run, path: Path) -> None:
    other = create_run(store, run.model_copy(update={"id": "demo-2"}))
    with at_work(store, run.id), at_work(store, other.id):
        assert [one.run_id for one in workers_of(store)] == ["demo", "demo-2"]


def test_the_same_process_cannot_enter_a_run_twice(store: Store, run: Run) -> None:
    with at_work(store, run.id), pytest.raises(RunBusy), at_work(store, run.id):
        pytest.fail("entered")


def test_only_samples_of_the_dead_are_given_back(store: Store, run: Run, path: Path) -> None:
    add_samples(store, run.id, [SampleInput(key=f"s{n}", query="?") for n in range(6)], 1)
    with another(path, 2) as (process, _), another(path, 3) as (living, worker):
        assert abandoned(store, run.id) == []
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert abandoned(store, run.id) == ["demo/s0", "demo/s1"]
        assert release_samples(store, run.id) == 2
        assert counts(store, run.id) == {"pending": 3, "running": 3, "done": 0, "failed": 0, "rejected": 0}
        assert get_trace(store, "demo/s2").worker == worker
        assert [one.pid for one in workers_of(store, run.id)] == [living.pid]
    assert abandoned(store, run.id) == ["demo/s2", "demo/s3", "demo/s4"]


def test_after_a_kill_the_run_is_free_and_nothing_stays_beside_the_store(store: Store, run: Run, path: Path) -> None:
    with another(path) as (process, _):
        process.kill()
        process.wait()
        assert list_runs(store)[0].status == "stopped", "although its row says running"
        with at_work(store, run.id):
            assert list_runs(store)[0].status == "running"
            assert len(beside(path)) == 1
    assert beside(path) == []


async def test_samples_claimed_by_nobody_are_given_back(store: Store, run: Run) -> None:
    add_samples(store, run.id, [SampleInput(key="s1", query="?")], 1)
    await take_pending(store, run.id, 1)
    assert abandoned(store, run.id) == ["demo/s1"]


async def test_the_last_to_leave_says_how_the_run_stands(store: Store, run: Run) -> None:
    def status() -> tuple[str, bool]:
        found = find_run(store, run.id)
        assert found
        return found.status, found.finished_at is not None

    add_samples(store, run.id, [SampleInput(key="s1", query="?")], 1)
    with at_work(store, run.id):
        with at_work(store, run.id, join=True):
            assert status() == ("running", False)
        assert status() == ("running", False)
    assert status() == ("stopped", True)
    with at_work(store, run.id):
        await record_sample(store, "demo/s1", status="failed", state={}, cause=ValueError("x"))
    assert status() == ("done", True)


def test_two_names_of_one_store_are_one_store(store: Store, run: Run, path: Path) -> None:
    link = path.with_name("link.db")
    link.symlink_to(path)
    with at_work(store, run.id), Store.open(link) as other, pytest.raises(RunBusy), at_work(other, run.id):
        pytest.fail("entered")
