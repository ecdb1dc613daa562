import asyncio
import gc
import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from muser.core.errors import StoreError
from muser.store.file.database import Store
from muser.store.file.texts import put_text


def words(store: Store) -> list[str]:
    return [row["body"] for row in store.read("SELECT body FROM texts ORDER BY id")]


def put_and_fail(db: sqlite3.Connection) -> int:
    put_text(db, "half done")
    raise LookupError("no")


def commits(path: Path) -> int:
    """Transactions in the write-ahead log: its frames that say how large the database is after them."""
    log = path.with_name(f"{path.name}-wal").read_bytes()
    page = int.from_bytes(log[8:12])
    return sum(log[at + 4 : at + 8] != bytes(4) for at in range(32, len(log), 24 + page))


async def test_changes_that_wait_together_are_one_commit(store: Store, path: Path) -> None:
    gate = threading.Event()
    first = asyncio.ensure_future(store.write(lambda db: gate.wait() and put_text(db, "first")))
    rest = [asyncio.ensure_future(store.write(partial(put_text, text=f"text {n}"))) for n in range(50)]
    await asyncio.sleep(0)
    before = commits(path)
    gate.set()
    await first
    assert len(set(await asyncio.gather(*rest))) == 50
    assert commits(path) - before <= 2
    assert words(store) == ["first", *(f"text {n}" for n in range(50))]


async def test_a_change_that_fails_fails_only_its_caller(store: Store) -> None:
    results = await asyncio.gather(
        store.write(lambda db: put_text(db, "one")),
        store.write(put_and_fail),
        store.write(lambda db: db.execute("INSERT INTO nowhere VALUES (1)").rowcount),
        store.write(lambda db: put_text(db, "two")),
        return_exceptions=True,
    )
    assert isinstance(results[1], LookupError)
    assert isinstance(results[2], sqlite3.OperationalError)
    assert words(store) == ["one", "two"]


async def test_what_was_done_beside_a_change_that_failed_is_done_once(store: Store) -> None:
    store.write_now(lambda db: db.execute("CREATE TABLE tally (n INTEGER)").rowcount)
    gate = threading.Event()
    holder = asyncio.ensure_future(store.write(lambda db: gate.wait() and 1))
    count = [store.write(lambda db: db.execute("INSERT INTO tally VALUES (1)").rowcount) for _ in range(5)]
    waiting = asyncio.gather(*count[:2], store.write(put_and_fail), *count[2:], return_exceptions=True)
    await asyncio.sleep(0)
    gate.set()
    await holder
    assert [type(result) for result in await waiting] == [int, int, LookupError, int, int, int]
    assert store.read("SELECT count(*) AS n FROM tally") == [{"n": 5}]


async def test_a_change_that_ends_the_transaction_itself_takes_its_group_down_but_not_the_writer(store: Store) -> None:
    with pytest.raises(sqlite3.Error):
        await store.write(lambda db: db.execute("ROLLBACK").rowcount)
    await store.write(lambda db: put_text(db, "after"))
    assert words(store) == ["after"]


def test_a_result_is_given_only_after_the_commit(store: Store, path: Path) -> None:
    store.write_now(lambda db: put_text(db, "seen"))
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT body FROM texts").fetchall() == [("seen",)]


async def test_a_cancelled_caller_leaves_its_change_and_the_writer_in_order(store: Store) -> None:
    gate = threading.Event()
    holder = asyncio.ensure_future(store.write(lambda db: gate.wait() and 1))
    cancelled = [asyncio.ensure_future(store.write(partial(put_text, text=f"paid {n}"))) for n in range(5)]
    await asyncio.sleep(0)
    for task in cancelled:
        task.cancel()
    gate.set()
    await holder
    assert all(isinstance(r, asyncio.CancelledError) for r in await asyncio.gather(*cancelled, return_exceptions=True))
    await store.write(lambda db: put_text(db, "after"))
    assert words(store) == [*(f"paid {n}" for n in range(5)), "after"]


async def test_a_change_that_fails_after_its_caller_was_cancelled_is_no_news(store: Store) -> None:
    gate, told = threading.Event(), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
    holder = asyncio.ensure_future(store.write(lambda db: gate.wait() and 1))
    failing = asyncio.ensure_future(store.write(put_and_fail))
    await asyncio.sleep(0)
    failing.cancel()
    await asyncio.sleep(0)
    gate.set()
    await holder
    await store.write(lambda db: 1)
    gc.collect()
    assert told == []


def test_an_event_loop_that_went_away_does_not_stop_the_writer(store: Store) -> None:
    gate = threading.Event()

    async def leave() -> None:
        task = asyncio.ensure_future(store.write(lambda db: gate.wait() and put_text(db, "late")))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(leave())
    gate.set()
    store.write_now(lambda db: put_text(db, "after"))
    assert words(store) == ["late", "after"]


def test_many_threads_may_write_and_read_at_once(store: Store) -> None:
    def work(worker: int) -> int:
        for n in range(20):
            store.write_now(partial(put_text, text=f"{worker}: {n}"))
            store.read("SELECT count(*) FROM texts")
        return len(words(store))

    with ThreadPoolExecutor(8) as pool:
        assert max(pool.map(work, range(8))) == 160


def test_closing_writes_what_is_queued_and_then_refuses_more(path: Path) -> None:
    store = Store.open(path)
    store.write_now(lambda db: 1)
    queued = [store._open_writer().submit(partial(put_text, text=f"{n}")) for n in range(100)]
    store.close()
    store.close()
    assert all(future.done() for future in queued)
    for use in (lambda: store.write_now(lambda db: 1), lambda: store.read("SELECT 1")):
        with pytest.raises(StoreError, match="closed"):
            use()
    with Store.open(path) as again:
        assert len(words(again)) == 100
    assert [file.name for file in path.parent.iterdir()] == [path.name], "the log is folded in and removed"


def test_a_change_that_waits_for_another_change_is_refused_at_once(store: Store) -> None:
    with pytest.raises(RuntimeError, match="must not queue"):
        store.write_now(lambda db: store.write_now(lambda db: 1))


WRITE_FOR_EVER = """
import asyncio, sys
from muser.store.file.database import Store
from muser.store.file.texts import put_text

async def write(store, worker):
    number = 0
    while True:
        text = f"{sys.argv[2]}-{worker}-{number}"
        await store.write(lambda db: put_text(db, text))
        print(text, flush=True)
        number += 1

async def main():
    with Store.open(sys.argv[1]) as store:
        await asyncio.gather(*(write(store, worker) for worker in range(16)))

asyncio.run(main())
"""


def test_what_was_reported_as_written_is_there_after_sigkill_of_two_writing_processes(store: Store, path: Path) -> None:
    command = [sys.executable, "-c", WRITE_FOR_EVER, str(path)]
    children = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in ("a", "b")]
    reported: list[str] = []
    for child in children:
        assert child.stdout is not None
        reported += [child.stdout.readline() for _ in range(400)]
    for child in children:
        child.kill()
        rest, _ = child.communicate()
        reported += rest.splitlines(keepends=True)
        assert child.returncode == -signal.SIGKILL
    # The kill may cut the last line of the report; a whole line was written after the commit.
    whole = {line.strip() for line in reported if line.endswith("\n")}
    assert len(whole) >= 800
    assert whole <= set(words(store))
    assert store.read("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    store.write_now(lambda db: put_text(db, "after"))
