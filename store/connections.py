"""How a store file is opened: whose it is, which pragmas hold, and what SQLite's errors mean to a user."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlite_utils import Database

from ..core.errors import DamagedDatabase, ForeignDatabase, StoreBusy, StoreError, StoreFull
from .schema import APPLICATION_ID, VERSION, migrate

PATIENCE = 60.0
"""Seconds to wait for another connection's lock before the caller gets StoreBusy."""

CACHE_KIB = 32 * 1024
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
DAMAGED_EXTENDED = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS}
BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}
FAILED = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_TOOBIG}


def connect(path: Path, mode: str = "rw", timeout: float | None = None) -> Database:
    """One connection (`mode` as in SQLite's URIs: ro, rw, rwc) that any thread may use, one at a time."""
    uri = f"{path.absolute().as_uri()}?{mode if '=' in mode else f'mode={mode}'}"
    wait = PATIENCE if timeout is None else timeout
    connection = sqlite3.connect(uri, uri=True, timeout=wait, check_same_thread=False)
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        return Database(connection, execute_plugins=False)
    except BaseException:
        connection.close()
        raise


def connect_reader(path: Path) -> Database:
    """A connection that cannot write. A store on a read-only medium is read as it lies there."""
    try:
        db = connect(path, "ro")
        db.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        # Reading a WAL file needs a shared-memory file beside it, which a read-only folder refuses.
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CANTOPEN or path.with_name(path.name + "-wal").exists():
            raise
        db = connect(path, "immutable=1")
    db.execute("PRAGMA query_only = ON")
    db.conn.row_factory = sqlite3.Row
    return db


def prepare(path: Path, create: bool = True) -> None:
    """Make sure that `path` is a store of this muser: create or migrate it, or raise and leave it as it was."""
    with translated(path):
        if not path.exists():
            if not create:
                raise StoreError("There is no store here.", where=str(path), todo="start one with `muser run RECIPE`")
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreFull(
                    f"The folder of the store cannot be made: {error.strerror}.", where=str(path)
                ) from error
        elif path.stat().st_size and _version(path) == VERSION:
            return
        with closing(connect(path, "rwc")) as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                migrate(db)
                db.execute("COMMIT")
            except BaseException:
                db.rollback()
                raise
            _enable_wal(db, path)


def _version(path: Path) -> int:
    """How many of our migrations the file has had; 0 for an empty database."""
    with closing(connect_reader(path)) as db:
        owner = db.execute("PRAGMA application_id").fetchone()[0]
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        empty = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if owner != APPLICATION_ID and not (empty and owner == 0):
        raise ForeignDatabase(
            "This file is the database of another program; muser leaves it alone.",
            where=str(path),
            todo="name another file with `store:` in the recipe or --store",
        )
    if version > VERSION:
        raise ForeignDatabase(
            f"This store was written by a newer muser (its schema is {version}, this muser knows {VERSION}).",
            where=str(path),
            todo="upgrade muser, or name another file with `store:`",
        )
    return version


def _enable_wal(db: Database, path: Path) -> None:
    """Changing the journal mode asks no busy handler, so two processes that start at once take turns here."""
    deadline, mode = time.monotonic() + PATIENCE, ""
    while not mode:
        try:
            mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    if mode != "wal":
        raise StoreError(
            "This file system cannot hold SQLite's write-ahead log.",
            where=str(path),
            todo="keep the store on a local disk",
        )


def translate(error: BaseException, path: Path) -> StoreError | None:
    """The StoreError that SQLite's error means; None where the error is not the file's fault but a bug."""
    if not isinstance(error, sqlite3.Error):
        return None
    extended = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    code, where = extended & 0xFF, str(path)
    if code in DAMAGED or extended in DAMAGED_EXTENDED:
        todo = "restore a copy; `sqlite3 FILE .recover` saves what is readable"
        return DamagedDatabase(f"SQLite cannot read this file: {error}.", where=where, todo=todo)
    if code in BUSY:
        return StoreBusy(
            f"Another process kept the store locked for {PATIENCE:g} s.", where=where, todo="let it finish"
        )
    if code in FULL or extended == sqlite3.SQLITE_IOERR_WRITE:
        todo = "free space or make it writable, then run the same command again"
        return StoreFull(f"The store cannot be written: {error}.", where=where, todo=todo)
    if code in FAILED:
        return StoreError(f"The store cannot be used: {error}.", where=where)
    return None


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise SQLite's errors in this block as StoreErrors."""
    try:
        yield
    except sqlite3.Error as error:
        failure = translate(error, path)
        if failure is None:
            raise
        raise failure from error
