"""Opens a store file: checks that it is muser's, sets the pragmas, and translates SQLite's errors for the user."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from ...core.errors import DamagedDatabase, ForeignDatabase, StoreBusy, StoreError, StoreFull
from ...core.files import open_private
from .objects import SCHEMA, schema_digest

APPLICATION_ID = 0x4D755352
"""The letters MuSR: marks the file as muser's in SQLite's header (sqlite.org/pragma.html#pragma_application_id)."""

VERSION = 25
"""The number of migrations in schema.py, stored in the header as `user_version`; a higher one means a newer muser."""

PATIENCE = 60.0
"""Seconds to wait for another connection's lock before raising StoreBusy."""

CACHE_KIB = 32 * 1024

PAGE_SIZE = 8192
"""Bytes, for new files. In SQLite's default of 4 KiB, texts of 2,000 to 3,000 characters waste a third of a page."""

DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
DAMAGED_EXTENDED = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS}
UNREADABLE = ("unsupported file format", "malformed JSON", "Could not decode to UTF-8")
"""How the errors for altered values begin: SQLite's functions and Python raise them without a code of their own."""
BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}
NO_ROOM = {sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE}
READ_ONLY = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}
FAILED = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_TOOBIG}


def connect(path: Path, mode: str = "mode=rw", timeout: float | None = None) -> sqlite3.Connection:
    """A connection that any thread may use, one at a time; callers issue BEGIN and COMMIT themselves.

    `mode` is the query part of SQLite's URI (sqlite.org/uri.html), such as mode=rwc to create the file.
    """
    wait = PATIENCE if timeout is None else timeout
    # isolation_level=None: otherwise Python begins a transaction itself before each INSERT, UPDATE or DELETE, and not
    # an IMMEDIATE one (docs.python.org/3/library/sqlite3.html#transaction-control).

    uri = f"{path.absolute().as_uri()}?{mode}"

    db = sqlite3.connect(uri, uri=True, timeout=wait, check_same_thread=False, isolation_level=None)
    try:
        db.row_factory = sqlite3.Row
        # Off by default and set per connection: sqlite.org/foreignkeys.html, section 2.
        db.execute("PRAGMA foreign_keys = ON")
        # A negative size is in KiB: sqlite.org/pragma.html#pragma_cache_size.
        db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        # In WAL mode NORMAL may lose the last commits in a power failure; FULL syncs the log at each commit
        # (sqlite.org/pragma.html#pragma_synchronous). It is also the first access to the file: sqlite3 opens lazily.
        db.execute("PRAGMA synchronous = FULL")
    except BaseException:
        db.close()
        raise
    return db


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. It also opens stores on read-only media and full disks."""
    try:
        # Not mode=ro: if such a reader closes last, it cannot checkpoint and delete the write-ahead log.
        db = connect(path)
    except sqlite3.OperationalError as error:
        # WAL needs a shared-memory file, which cannot be created here. Without a log to read, the file may be opened as
        # immutable, which needs none: sqlite.org/wal.html#read_only_databases.
        refused = error.sqlite_errorcode & 0xFF in READ_ONLY or error.sqlite_errorcode == sqlite3.SQLITE_IOERR_SHMSIZE
        if not refused or _has_log(path):
            raise
        db = connect(path, "mode=ro&immutable=1")
    db.execute("PRAGMA query_only = ON")
    return db


def prepare(path: Path, create: bool = True) -> None:
    """Create or migrate the store at `path`; if that is impossible, raise and leave the file unchanged."""
    with translated(path):
        if not create and not is_begun(path):
            raise StoreError("There is no store here.", where=str(path), todo="start one with `muser run RECIPE`")
        if not path.exists():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreFull(f"The store's folder cannot be created: {error.strerror}.", where=str(path)) from error
            # Created here and not by SQLite, which would apply the umask. The log and journal copy its permissions.
            with suppress(OSError):
                open_private(path, "ab").close()
        elif path.is_dir():
            raise StoreError("This is a folder, not a store.", where=str(path), todo="give the path of a file")
        elif path.stat().st_size and _version(path) == VERSION and _has_wal(path):
            return
        with closing(connect(path, "mode=rwc")) as db:
            from .schema import migrate

            # Takes effect only while the file is empty, and never in WAL mode: sqlite.org/pragma.html#pragma_page_size.
            db.execute(f"PRAGMA page_size = {PAGE_SIZE}")
            # One transaction for all steps and both header fields: a kill leaves the old store or the migrated one.
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


def check_schema(db: sqlite3.Connection, path: Path) -> None:
    """Raise DamagedDatabase if an object of the schema is missing or altered: some query would fail, or miscount."""
    # The digest spares the import of the migrations; it also differs where another program added an object.
    if schema_digest(db) == SCHEMA:
        return
    from .schema import altered_objects

    if altered := "; ".join(altered_objects(db)):
        raise DamagedDatabase(
            f"Another program altered this store's schema: {altered}.",
            where=str(path),
            todo="undo the change or restore a backup; `muser db check` lists what is altered",
        )


def is_begun(path: Path) -> bool:
    """Does the path hold anything to read? A kill before the first write leaves an empty file."""
    return path.exists() and (path.is_dir() or path.stat().st_size > 0)


def _version(path: Path) -> int:
    """The number of migrations that the file has had; 0 for an empty database."""
    # The file may belong to another program, so leave nothing beside it: immutable=1 creates no -shm or -wal file. A
    # journal left by a kill is the exception: it has to be rolled back before anything in the file can be trusted.
    interrupted = path.with_name(path.name + "-journal").exists()
    mode = "mode=rw" if interrupted else "mode=ro" if _has_log(path) else "mode=ro&immutable=1"
    with closing(connect(path, mode)) as db:
        owner = db.execute("PRAGMA application_id").fetchone()[0]
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        ours = owner == APPLICATION_ID or (owner == 0 and not db.execute("SELECT 1 FROM sqlite_master").fetchone())
    if not ours:
        raise ForeignDatabase(
            "This file is another program's database; muser leaves it unchanged.",
            where=str(path),
            todo="name another file with `store:` in the recipe or --store",
        )
    if version > VERSION:
        raise ForeignDatabase(
            f"A newer muser wrote this store (its schema version is {version}; this muser supports up to {VERSION}).",
            where=str(path),
            todo="upgrade muser, or name another file with `store:`",
        )
    return version


def _has_wal(path: Path) -> bool:
    """Is the file in WAL mode, by bytes 18 and 19 of its header (sqlite.org/fileformat.html)? A copy may not be."""
    with path.open("rb") as file:
        return file.read(20)[18:] == b"\2\2"


def _has_log(path: Path) -> bool:
    """Does the write-ahead log have content that may not be in the file yet?"""
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0


def _enable_wal(db: sqlite3.Connection, path: Path) -> None:
    """Retry until the mode is set: SQLite calls no busy handler here, and other processes may be opening the file."""
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
            "SQLite's write-ahead log does not work on this file system.",
            where=str(path),
            todo="keep the store on a local disk",
        )


def translate(error: BaseException, path: Path) -> StoreError | None:
    """The StoreError for an error of SQLite's; None if the error is a bug and not a problem with the file."""
    where = str(path)
    todo = "run `muser db check` to see what is corrupted, then restore a backup or follow docs/storage.md"
    if isinstance(error, UnicodeDecodeError):
        return DamagedDatabase("The file contains text that is not UTF-8.", where=where, todo=todo)
    if not isinstance(error, sqlite3.Error):
        return None
    # The low byte is the primary code, the whole number the extended one: sqlite.org/rescode.html.
    extended = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    code = extended & 0xFF
    unreadable = code in DAMAGED or extended in DAMAGED_EXTENDED or str(error).startswith(UNREADABLE)
    if unreadable or (code == sqlite3.SQLITE_ERROR and _is_altered(path)):
        return DamagedDatabase(f"SQLite cannot read this file: {error}.", where=where, todo=todo)
    if code in BUSY:
        return StoreBusy(
            f"Another process kept the store locked for {PATIENCE:g} s.",
            where=where,
            todo="wait for it to finish",
        )
    closed = code == sqlite3.SQLITE_CANTOPEN and not os.access(path.parent, os.W_OK)
    if closed or code in FULL or extended in NO_ROOM:
        todo = "free disk space or make it writable, then rerun the command"
        return StoreFull(f"The store cannot be written: {error}.", where=where, todo=todo)
    if code in FAILED:
        todo = "check whether the disk is full or failing, then rerun the command"
        return StoreError(f"The store cannot be used: {error}.", where=where, todo=todo)
    return None


def _is_altered(path: Path) -> bool:
    """Does the schema differ from the one that muser's SQL expects?"""
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
    """Raises SQLite's errors in this block as StoreErrors; bugs pass through unchanged."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        failure = translate(error, path)
        if failure is None:
            raise
        raise failure from error
