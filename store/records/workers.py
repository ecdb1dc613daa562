"""The processes working on a run: each has a row, and holds a lock on a file of its own for as long as it lives.

The kernel releases the lock however the process ends (flock(2)), so a dead worker is noticed at once, without a timeout
and without trusting a process id, which may have been reused.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from sqlite3 import Connection

from ...core.errors import RunBusy, StoreError, StoreFull
from ...core.types import Value
from ..file.database import Store, now


class Worker(Value):
    """A process working on a run."""

    id: str
    run_id: str
    pid: int
    started_at: str


@contextmanager
def at_work(store: Store, run_id: str, *, join: bool = False) -> Iterator[str]:
    """The id under which this process claims samples. Raises RunBusy if others work on the run, unless `join`."""
    worker = Worker(id=secrets.token_hex(6), run_id=run_id, pid=os.getpid(), started_at=now())
    with _lock(store.path, worker.id):
        store.write_now(lambda db: _enter(db, store.path, worker, join))
        writable = True
        try:
            yield worker.id
        except StoreError:
            # Leave the row: without its lock it counts as dead. Another write would only wait for the store again.
            writable = False
            raise
        finally:
            if writable:
                with suppress(StoreError):
                    store.write_now(lambda db: _leave(db, store.path, worker))


def workers_of(store: Store, run_id: str | None = None) -> list[Worker]:
    """The live workers of the run, or of all runs, longest-running first."""
    rows = store.read("SELECT * FROM workers ORDER BY started_at, id")
    found = [Worker(**row) for row in rows if run_id in {None, row["run_id"]}]
    return [worker for worker in found if _is_alive(store.path, worker.id)]


def abandoned(store: Store, run_id: str) -> list[str]:
    """The ids of the run's samples that are marked running but have no live worker."""
    return [f"{run_id}/{row['key']}" for row in store.read(ABANDONED, (run_id, _gone(store, run_id)))]


ABANDONED = """
    SELECT key FROM samples WHERE run_id = ? AND status = 'running'
    AND coalesce(worker, '') IN (SELECT value FROM json_each(?)) ORDER BY id"""


def release_samples(store: Store, run_id: str) -> int:
    """Make abandoned samples pending again; returns how many."""
    gone = _gone(store, run_id)
    return store.write_now(lambda db: db.execute(RELEASE, (run_id, gone)).rowcount)


RELEASE = """
    UPDATE samples SET status = 'pending', worker = NULL WHERE run_id = ? AND status = 'running'
    AND coalesce(worker, '') IN (SELECT value FROM json_each(?))"""


def _gone(store: Store, run_id: str) -> str:
    """The ids of dead workers that still have running samples, as JSON."""
    sql = "SELECT DISTINCT coalesce(worker, '') AS id FROM samples WHERE run_id = ? AND status = 'running'"
    return json.dumps([row["id"] for row in store.read(sql, (run_id,)) if not _is_alive(store.path, row["id"])])


def _enter(db: Connection, store: Path, worker: Worker, join: bool) -> None:
    # Check and insert in one transaction: if two processes start at once, the second sees the first.
    others = _alive_at(db, store, worker.run_id)
    if others and not join:
        raise RunBusy(
            f"Run {worker.run_id} is already running in process {', '.join(str(other.pid) for other in others)}.",
            where=str(store),
            todo="wait for it, stop it with `kill`, or join it with --workers 1",
        )
    row = worker.model_dump()
    db.execute("INSERT INTO workers (id, run_id, pid, started_at) VALUES (:id, :run_id, :pid, :started_at)", row)
    db.execute("UPDATE runs SET status = 'running', finished_at = NULL WHERE id = ?", (worker.run_id,))


def _leave(db: Connection, store: Path, worker: Worker) -> None:
    """The last worker to leave sets the run's status."""
    db.execute("DELETE FROM workers WHERE id = ?", (worker.id,))
    if not _alive_at(db, store, worker.run_id):
        db.execute(STANDS, {"run_id": worker.run_id, "now": now()})


STANDS = """
    UPDATE runs SET finished_at = :now, status = iif(EXISTS (
        SELECT 1 FROM samples WHERE run_id = :run_id AND status IN ('pending', 'running')), 'stopped', 'done')
    WHERE id = :run_id"""


def _alive_at(db: Connection, store: Path, run_id: str) -> list[Worker]:
    """The run's live workers; rows of dead ones are deleted."""
    alive = []
    for row in db.execute("SELECT * FROM workers WHERE run_id = ? ORDER BY started_at, id", (run_id,)).fetchall():
        worker = Worker(**row)
        if _is_alive(store, worker.id):
            alive.append(worker)
        else:
            db.execute("DELETE FROM workers WHERE id = ?", (worker.id,))
            _lock_file(store, worker.id).unlink(missing_ok=True)
    return alive


@contextmanager
def _lock(store: Path, worker: str) -> Iterator[None]:
    path = _lock_file(store, worker)
    try:
        # World-readable: other users of a shared folder must be able to test the lock.
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDONLY, 0o644)
    except OSError as error:
        raise StoreFull(
            f"Cannot create a file beside the store: {error.strerror}.",
            where=str(path),
            todo="make the folder writable",
        ) from error
    try:
        # Cannot block: no other process knows the file's name yet.
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _is_alive(store: Path, worker: str) -> bool:
    try:
        handle = os.open(_lock_file(store, worker), os.O_RDONLY)
    except FileNotFoundError:
        return False
    except PermissionError:
        return True
    try:
        # A shared lock, so that two processes testing at once do not mistake each other for the worker.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _lock_file(store: Path, worker: str) -> Path:
    real = store.resolve()
    return real.with_name(f"{real.name}-worker-{worker}")
