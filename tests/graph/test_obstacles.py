"""`muser run` with a full disk, a locked or a corrupted store: it reports why, and the same command resumes it."""

import json
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing

import pytest

from muser.store.file.database import Store
from muser.store.records.samples import counts

from .harness import DONE, ERROR, Harness

MakeHarness = Callable[..., Harness]


def says(harness: Harness, *parts: str) -> None:
    """What was printed has these parts, and no traceback."""
    said = harness.said
    assert "Traceback" not in said
    for part in parts:
        assert part in said


def resume(harness: Harness, samples: int) -> None:
    """The same command ends the run, with no call repeated but those that were lost; the store is sound."""
    assert harness.run("--json") == DONE, harness.said
    assert len(harness.results()) == samples
    assert harness.repeats == harness.lost
    assert len(harness.recorded) == len(harness.asked) == samples * 6
    assert harness.muser("db", "check") == DONE, harness.said


@pytest.mark.parametrize("limit", [pytest.param(4096, marks=pytest.mark.slow), 500_000])
def test_a_full_disk_ends_a_run_with_a_message_and_it_goes_on_once_there_is_room(
    make_harness: MakeHarness, limit: int
) -> None:
    harness = make_harness(16, concurrency=8)
    assert harness.run(limit=limit) == ERROR, harness.said
    says(harness, "The store cannot be", "full" if limit == 4096 else "free disk space", "rerun the command")
    resume(harness, 16)


def test_a_store_on_a_full_disk_can_be_read_and_says_so_when_written(make_harness: MakeHarness) -> None:
    harness = make_harness()
    harness.run()
    # SQLite makes a file of 32 KiB beside a store that it opens.
    for words in (["runs"], ["show", "s000001"], ["db", "check"]):
        assert harness.muser(*words, limit=20_000) == DONE, harness.said
    assert harness.run("--samples", 2, limit=20_000) == ERROR
    says(harness, "The store cannot be written", "free disk space")


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_a_full_disk_ends_all_workers_of_a_run(make_harness: MakeHarness) -> None:
    harness = make_harness(40, concurrency=8)
    assert harness.run("--workers", 2, limit=1_000_000) == ERROR, harness.said
    says(harness, "The store cannot be written", "rerun the command")
    assert harness.recorded, "it came some way"
    resume(harness, 40)


def hold(harness: Harness, until: Callable[[], object]) -> None:
    """Begins to write in the store as another program would, and ends it after `until` returns."""
    with closing(sqlite3.connect(harness.folder / "muser.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        until()
        other.execute("COMMIT")


@pytest.mark.parametrize("seconds", [1, pytest.param(30, marks=[pytest.mark.nightly, pytest.mark.timeout(300)])])
def test_a_run_waits_for_another_program_that_locks_the_store(make_harness: MakeHarness, seconds: int) -> None:
    harness = make_harness(8, concurrency=4, latency=0.05)
    harness.start("run", "trial.yaml", "--json")
    harness.wait_until(lambda: harness.asked.total() >= 6)
    hold(harness, lambda: threading.Event().wait(seconds))
    assert harness.wait() == DONE, harness.said
    assert json.loads(harness.said[harness.said.index("{") :])["done"] == 8
    assert not harness.repeats


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_a_run_gives_up_on_a_program_that_never_lets_go(make_harness: MakeHarness) -> None:
    harness = make_harness(8, concurrency=4, latency=0.05)
    harness.start("run", "trial.yaml")
    harness.wait_until(lambda: harness.asked.total() >= 6)
    codes = []
    hold(harness, lambda: codes.append(harness.commands.wait()))
    assert codes == [ERROR]
    says(harness, "Another process kept the store locked for 60 s")
    harness.count_lost()
    resume(harness, 8)


def test_a_run_ends_at_a_corrupted_page_and_fails_no_sample_for_it(make_harness: MakeHarness) -> None:
    harness = make_harness(2)
    harness.run()
    with Store.open(harness.folder / "muser.db") as store:
        page = store.read("SELECT rootpage AS n FROM sqlite_master WHERE name = 'checkpoints'")[0]["n"]
        size = store.read("PRAGMA page_size")[0]["page_size"]
    with (harness.folder / "muser.db").open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)
    assert harness.run("--samples", 6) == ERROR
    says(harness, "SQLite cannot read this file", "run `muser db check` to see what is corrupted")
    with Store.open(harness.folder / "muser.db") as store:
        assert counts(store, "trial")["failed"] == 0
        assert counts(store, "trial")["done"] == 2
