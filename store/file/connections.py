"""How a store file is opened: whose it is, which pragmas hold, and what SQLite's errors mean to a user."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from ...core.errors import DamagedDatabase, ForeignDatabase, StoreBusy, StoreError, StoreFull
from ...core.files import open_private

APPLICATION_ID = 0x4D755352
"""Marks a file as muser's in SQLite's header: the letters MuSR."""

VERSION = 19
"""How many steps schema.py has; in the header as SQLite's `user_version`, where a higher one means a newer muser."""

PATIENCE = 60.0
"""Seconds to wait for another connection's lock before the caller gets StoreBusy."""

CACHE_KIB = 32 * 1024

PAGE_SIZE = 8192
"""Of a new file. Texts of two or three thousand characters would leave a third of SQLite's usual 4 KiB pages empty."""

DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
DAMAGED_EXTENDED = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS}
UNREADABLE = ("unsupported file format", "malformed JSON", "Could not decode to UTF-8")
"""How errors begin that SQLite's functions, or Python, raise over altered values; they have no code of their own."""
BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}
NO_ROOM = {sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE}
READ_ONLY = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}
FAILED = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_TOOBIG}


def connect(path: Path, mode: str = "mode=rw", timeout: float | None = None) -> sqlite3.Connection:
    """One connection that any thread may use, one at a time; transactions are begun and ended in words.

    `mode` is the query of SQLite's URI, such as mode=rwc to create the file.
    """
    wait = PATIENCE if timeout is None else timeout
    uri = f"{path.absolute().as_uri()}?{mode}"
    db = sqlite3.connect(uri, uri=True, timeout=wait, check_same_thread=False, isolation_level=None)
    try:
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA foreign_keys = ON")
        db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        # Asks for the file itself, which until here was only named.
        db.execute("PRAGMA synchronous = FULL")
    except BaseException:
        db.close()
        raise
    return db


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. A store on a read-only medium or a full disk is read as it lies there."""
    try:
        # Not mode=ro: a reader that closes last could not tidy up the write-ahead log.
        db = connect(path)
    except sqlite3.OperationalError as error:
        # The log needs a shared-memory file beside it, for which there is no place; without a log, none is needed.
        refused = error.sqlite_errorcode & 0xFF in READ_ONLY or error.sqlite_errorcode == sqlite3.SQLITE_IOERR_SHMSIZE
        if not refused or _has_log(path):
            raise
        db = connect(path, "mode=ro&immutable=1")
    db.execute("PRAGMA query_only = ON")
    return db


def prepare(path: Path, create: bool = True) -> None:
    """Make sure that `path` is a store of this muser: create or migrate it, or raise and leave it as it was."""
    with translated(path):
        if not create and not is_begun(path):
            raise StoreError("There is no store here.", where=str(path), todo="start one with `muser run RECIPE`")
        if not path.exists():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreFull(
                    f"The folder of the store cannot be made: {error.strerror}.", where=str(path)
                ) from error
            # SQLite would obey the umask; its log and journal get the permissions that the file has.
            with suppress(OSError):
                open_private(path, "ab").close()
        elif path.is_dir():
            raise StoreError("This is a folder, not a store.", where=str(path), todo="name a file in it")
        elif path.stat().st_size and _version(path) == VERSION and _has_wal(path):
            return
        with closing(connect(path, "mode=rwc")) as db:
            from .schema import migrate

            db.execute(f"PRAGMA page_size = {PAGE_SIZE}")
            db.execute("BEGIN IMMEDIATE")
            try:
                migrate(db)
                db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                db.execute(f"PRAGMA user_version = {VERSION}")
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            _enable_wal(db, path)


def is_begun(path: Path) -> bool:
    """Is something there that is to be read? A kill at the very first write leaves a file of no bytes."""
    return path.exists() and (path.is_dir() or path.stat().st_size > 0)


def _version(path: Path) -> int:
    """How many of our migrations the file has had; 0 for an empty database."""
    # Looking must leave no trace beside a file that may be another program's; a change that was cut short by a kill is
    # all the same taken back first, as any reader would.
    cut_short = path.with_name(path.name + "-journal").exists()
    mode = "mode=rw" if cut_short else "mode=ro" if _has_log(path) else "mode=ro&immutable=1"
    with closing(connect(path, mode)) as db:
        owner = db.execute("PRAGMA application_id").fetchone()[0]
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        ours = owner == APPLICATION_ID or (owner == 0 and not db.execute("SELECT 1 FROM sqlite_master").fetchone())
    if not ours:
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


def _has_wal(path: Path) -> bool:
    """By the file's header; a copy that another tool made need not have it."""
    with path.open("rb") as file:
        return file.read(20)[18:] == b"\2\2"


def _has_log(path: Path) -> bool:
    """Is something in the write-ahead log that may not be in the file yet?"""
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0


def _enable_wal(db: sqlite3.Connection, path: Path) -> None:
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
    where = str(path)
    todo = "`muser db check` says what is corrupted; restore a copy, or save what is readable: docs/storage.md says how"
    if isinstance(error, UnicodeDecodeError):
        return DamagedDatabase("The file has text that is not UTF-8.", where=where, todo=todo)
    if not isinstance(error, sqlite3.Error):
        return None
    extended = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    code = extended & 0xFF
    unreadable = code in DAMAGED or extended in DAMAGED_EXTENDED or str(error).startswith(UNREADABLE)
    if unreadable or (code == sqlite3.SQLITE_ERROR and _is_altered(path)):
        return DamagedDatabase(f"SQLite cannot read this file: {error}.", where=where, todo=todo)
    if code in BUSY:
        return StoreBusy(
            f"Another process kept the store locked for {PATIENCE:g} s.", where=where, todo="let it finish"
        )
    closed = code == sqlite3.SQLITE_CANTOPEN and not os.access(path.parent, os.W_OK)
    if closed or code in FULL or extended in NO_ROOM:
        todo = "free space or make it writable, then run the same command again"
        return StoreFull(f"The store cannot be written: {error}.", where=where, todo=todo)
    if code in FAILED:
        todo = "see whether the disk is full or failing, then run the same command again"
        return StoreError(f"The store cannot be used: {error}.", where=where, todo=todo)
    return None


def _is_altered(path: Path) -> bool:
    """Is the schema other than the one that muser's SQL is written for?"""
    from .schema import altered_objects

    try:
        with closing(connect_reader(path)) as db:
            return any(True for _ in altered_objects(db))
    except sqlite3.OperationalError:
        return False
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        return True


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise SQLite's errors in this block as StoreErrors."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        failure = translate(error, path)
        if failure is None:
            raise
        raise failure from error
