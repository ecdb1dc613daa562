"""The one thread that writes: it commits everything queued in one transaction, then tells the callers.

A commit waits for the disk (synchronous=FULL), so its cost is nearly the same for one change as for hundreds. SQLite
allows one writer at a time in any case (sqlite.org/wal.html), so a single thread loses nothing.
"""

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ...core.errors import StoreError
from . import connections

T = TypeVar("T")

LARGEST_GROUP = 512
"""Changes in one transaction; limits how many callers share a failed commit and how long each one waits."""

POLL = 0.002
"""Seconds between attempts to get the write lock. SQLite's busy handler backs off to 100 ms: GPUs would idle."""


@dataclass
class _Job:
    change: Callable[[sqlite3.Connection], Any]
    future: "Future[Any] | asyncio.Future[Any]"
    queued: float = field(default_factory=time.monotonic)
    result: Any = None
    failure: BaseException | None = None

    def tell(self) -> None:
        """Resolve the caller's future. An asyncio future may be resolved only on its own event loop."""
        if self.future.done():
            return  # the caller was cancelled
        if self.failure is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.failure)


class Writer:
    """Group commit. If a change fails, the group is rolled back and rerun with each change in its own savepoint.

    A failing change therefore fails only its caller. But a change may run twice, so it must have no effect outside the
    database.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with connections.translated(path):
            # Without SQLite's own wait: `_begin` waits, in shorter steps.
            self._db = connections.connect(path, timeout=0)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=f"writer of {path.name}", daemon=True)
        self._thread.start()

    def submit(self, change: Callable[[sqlite3.Connection], T]) -> "Future[T]":
        """Queue a change. The future gets its result after the commit, or the StoreError or bug that stopped it."""
        future: Future[T] = Future()
        self._queue(_Job(change, future))
        return future

    def submit_from_loop(self, change: Callable[[sqlite3.Connection], T]) -> "asyncio.Future[T]":
        """`submit` for code on an event loop. Cancelling the future does not undo the change."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue(_Job(change, future))
        return future

    def _queue(self, job: _Job) -> None:
        if threading.current_thread() is self._thread:
            raise RuntimeError("a change must not queue another change: it would deadlock")
        with self._lock:
            if self._closed:
                raise StoreError("The store is closed.", where=str(self._path))
            self._jobs.put(job)

    def close(self) -> None:
        """Write what is queued, then stop. May be called again."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        last = False
        while not last:
            group = [self._jobs.get()]
            while len(group) < LARGEST_GROUP and group[-1] is not None:
                try:
                    group.append(self._jobs.get_nowait())
                except queue.Empty:
                    break
            last = group[-1] is None
            jobs = [job for job in group if job is not None]
            if jobs:
                self._commit(jobs)
        self._db.close()

    def _commit(self, jobs: list[_Job]) -> None:
        try:
            # Counted from the newest job, so that changes queued behind a waiting group get their full time too.
            deadline = max(job.queued for job in jobs) + connections.PATIENCE
            self._begin(deadline)
            if not self._apply_all(jobs):
                self._begin(deadline)
                for job in jobs:
                    self._apply(job)
            self._db.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001 - callers must be told, or they wait forever
            self._roll_back()
            for job in jobs:
                job.failure = job.failure or error
        for job in jobs:
            if job.failure is not None:
                job.failure = self._explain(job.failure)
        _tell(jobs)

    def _begin(self, deadline: float) -> None:
        """Take the write lock before anything is read.

        A transaction that reads first and writes later can fail with SQLITE_BUSY_SNAPSHOT in the middle of a change
        (sqlite.org/lang_transaction.html).
        """
        while not self._db.in_transaction:
            try:
                self._db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in connections.BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(POLL)

    def _apply_all(self, jobs: list[_Job]) -> bool:
        """Run all changes without savepoints, which cost two statements each; roll back if one of them fails."""
        try:
            for job in jobs:
                job.result = job.change(self._db)
        except BaseException:  # noqa: BLE001 - raised again in the rerun, where its own caller gets it
            self._roll_back()
            return False
        return True

    def _apply(self, job: _Job) -> None:
        self._db.execute("SAVEPOINT change")
        try:
            job.result = job.change(self._db)
        except BaseException as error:
            if not self._db.in_transaction:
                raise  # SQLite rolled back the whole transaction, as it may on a full disk (lang_transaction.html)
            job.failure = error
            self._db.execute("ROLLBACK TO change")
        self._db.execute("RELEASE change")

    def _roll_back(self) -> None:
        # Report the first error, not this one. If the rollback fails, SQLite has already ended the transaction.
        with suppress(sqlite3.Error):
            self._db.rollback()

    def _explain(self, error: BaseException) -> BaseException:
        failure = connections.translate(error, self._path)
        if failure is None:
            return error
        failure.__cause__ = error
        return failure


def _tell(jobs: list[_Job]) -> None:
    """Wake each event loop once per group: a wake-up costs as much as a small change."""
    loops: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in jobs:
        if isinstance(job.future, Future):
            job.tell()
        else:
            loops.setdefault(job.future.get_loop(), []).append(job)
    for loop, waiting in loops.items():
        with suppress(RuntimeError):  # the loop is closed, and its futures with it
            loop.call_soon_threadsafe(_tell_here, waiting)


def _tell_here(jobs: list[_Job]) -> None:
    for job in jobs:
        job.tell()
