"""`muser run` where the disk is full, the store is locked or corrupted: it says so, and goes on afterwards."""

import json
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing

import pytest

from muser.store.file.database import Store
from muser.store.records.samples import counts

from .beds import DONE, ERROR, Bed

Lay = Callable[..., Bed]


def says(bed: Bed, *parts: str) -> None:
    """What was printed has these parts, and no traceback."""
    said = bed.said
    assert "Traceback" not in said
    for part in parts:
        assert part in said


def go_on(bed: Bed, samples: int) -> None:
    """The same command ends the run, with no call repeated but those that were lost; the store is sound."""
    assert bed.run("--json") == DONE, bed.said
    assert len(bed.results()) == samples
    assert bed.repeats == bed.lost
    assert len(bed.recorded) == len(bed.asked) == samples * 6
    assert bed.muser("db", "check") == DONE, bed.said


@pytest.mark.parametrize("limit", [pytest.param(4096, marks=pytest.mark.slow), 500_000])
def test_a_full_disk_ends_a_run_with_a_message_and_it_goes_on_once_there_is_room(lay: Lay, limit: int) -> None:
    bed = lay(16, concurrency=8)
    assert bed.run(limit=limit) == ERROR, bed.said
    says(bed, "The store cannot be", "full" if limit == 4096 else "free disk space", "rerun the command")
    go_on(bed, 16)


def test_a_store_on_a_full_disk_can_be_read_and_says_so_when_written(lay: Lay) -> None:
    bed = lay()
    bed.run()
    # SQLite makes a file of 32 KiB beside a store that it opens.
    for words in (["runs"], ["show", "s000001"], ["db", "check"]):
        assert bed.muser(*words, limit=20_000) == DONE, bed.said
    assert bed.run("--samples", 2, limit=20_000) == ERROR
    says(bed, "The store cannot be written", "free disk space")


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_a_full_disk_ends_all_workers_of_a_run(lay: Lay) -> None:
    bed = lay(40, concurrency=8)
    assert bed.run("--workers", 2, limit=1_000_000) == ERROR, bed.said
    says(bed, "The store cannot be written", "rerun the command")
    assert bed.recorded, "it came some way"
    go_on(bed, 40)


def hold(bed: Bed, until: Callable[[], object]) -> None:
    """Begins to write in the store as another program would, and ends it after `until` returns."""
    with closing(sqlite3.connect(bed.folder / "muser.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        until()
        other.execute("COMMIT")


@pytest.mark.parametrize("seconds", [1, pytest.param(30, marks=[pytest.mark.nightly, pytest.mark.timeout(300)])])
def test_a_run_waits_for_another_program_that_locks_the_store(lay: Lay, seconds: int) -> None:
    bed = lay(8, concurrency=4, latency=0.05)
    bed.start("run", "trial.yaml", "--json")
    bed.wait_until(lambda: bed.asked.total() >= 6)
    hold(bed, lambda: threading.Event().wait(seconds))
    assert bed.wait() == DONE, bed.said
    assert json.loads(bed.said[bed.said.index("{") :])["done"] == 8
    assert not bed.repeats


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_a_run_gives_up_on_a_program_that_never_lets_go(lay: Lay) -> None:
    bed = lay(8, concurrency=4, latency=0.05)
    bed.start("run", "trial.yaml")
    bed.wait_until(lambda: bed.asked.total() >= 6)
    codes = []
    hold(bed, lambda: codes.append(bed.mortals.wait()))
    assert codes == [ERROR]
    says(bed, "Another process kept the store locked for 60 s")
    bed.count_lost()
    go_on(bed, 8)


def test_a_run_ends_at_a_corrupted_page_and_fails_no_sample_for_it(lay: Lay) -> None:
    bed = lay(2)
    bed.run()
    with Store.open(bed.folder / "muser.db") as store:
        page = store.read("SELECT rootpage AS n FROM sqlite_master WHERE name = 'checkpoints'")[0]["n"]
        size = store.read("PRAGMA page_size")[0]["page_size"]
    with (bed.folder / "muser.db").open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)
    assert bed.run("--samples", 6) == ERROR
    says(bed, "SQLite cannot read this file", "run `muser db check` to see what is corrupted")
    with Store.open(bed.folder / "muser.db") as store:
        assert counts(store, "trial")["failed"] == 0
        assert counts(store, "trial")["done"] == 2
