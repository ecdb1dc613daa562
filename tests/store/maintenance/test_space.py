import asyncio
import os
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from muser.core.errors import InputError, RunBusy, StoreFull
from muser.store.file.database import Store
from muser.store.file.texts import put_text
from muser.store.maintenance.health import check_store
from muser.store.maintenance.space import PARTS, back_up, measure, vacuum
from muser.store.records.history import prune
from muser.store.records.runs import Run
from muser.store.records.samples import counts, get_trace
from muser.store.records.workers import at_work

from ..filled import fill


async def test_the_tables_add_up_to_the_file(store: Store, run: Run) -> None:
    await fill(store, run.id, 40, unfinished=2)
    store.close()
    with Store.open(store.path) as opened:
        space = measure(opened)
    assert sum(space.tables.values()) + space.free == space.file
    assert (space.done, space.pruned, space.rows["samples"], space.rows["calls"]) == (40, 0, 42, 42)
    assert {table for tables in PARTS.values() for table in tables} <= set(space.tables)
    assert space.per_sample == pytest.approx((space.file - space.free) / 40 / 1024)
    assert space.part("steps") > space.part("calls")


async def test_vacuum_gives_back_what_prune_has_freed(store: Store, run: Run) -> None:
    ids = await fill(store, run.id, 40)
    trace = get_trace(store, ids[7])
    prune(store)
    assert measure(store).free > 0
    before, after = vacuum(store)
    assert after < before
    assert after == store.path.stat().st_size
    assert measure(store).free == 0
    assert get_trace(store, ids[7]).response == trace.response
    assert check_store(store).is_sound


def test_vacuum_is_refused_while_a_run_is_at_work(store: Store, run: Run) -> None:
    with at_work(store, run.id), pytest.raises(RunBusy, match=f"{os.getpid()}"):
        vacuum(store)


async def test_a_backup_is_the_whole_store_at_one_moment_while_it_is_written(
    store: Store, run: Run, tmp_path: Path
) -> None:
    ids = await fill(store, run.id, 20)
    stop = asyncio.Event()

    async def write() -> int:
        number = 0
        while not stop.is_set():
            await store.write(partial(put_text, text=f"{number} " * 400))
            number += 1
        return number

    writing = asyncio.create_task(write())
    target = tmp_path / "copies" / "copy.db"
    size = await asyncio.to_thread(back_up, store, target)
    stop.set()
    assert await writing > 0
    assert size == target.stat().st_size
    assert os.listdir(target.parent) == ["copy.db"]  # noqa: PTH208 - this test is async
    with Store.open(target, create=False) as copy:
        assert check_store(copy).is_sound
        assert get_trace(copy, ids[3]) == get_trace(store, ids[3])
        assert counts(copy, run.id) == counts(store, run.id)


def test_a_backup_overwrites_nothing(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("mine")
    with pytest.raises(InputError, match="a file of this name"):
        back_up(store, target)
    assert target.read_text() == "mine"


SMALL = """
import resource, sys
from pathlib import Path
from muser.core.errors import StoreFull
from muser.store.file.database import Store
from muser.store.maintenance.space import back_up
with Store.open(sys.argv[1]) as store:
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
    try:
        back_up(store, Path(sys.argv[2]))
    except StoreFull as error:
        print(error)
"""


def test_a_backup_that_finds_no_room_leaves_nothing(store: Store, run: Run, path: Path, tmp_path: Path) -> None:
    store.close()
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    target = tmp_path / "copies" / "copy.db"
    done = subprocess.run([sys.executable, "-c", SMALL, path, target], capture_output=True, text=True, check=True)
    assert "cannot be written" in done.stdout
    assert list(target.parent.iterdir()) == []


def test_a_backup_to_where_none_can_be_made_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreFull):
        back_up(store, tmp_path / "file" / "copy.db")
