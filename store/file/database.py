"""The store: one SQLite file, read from any thread and written by one."""

import queue
import sqlite3
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from ...core.errors import StoreError
from .connections import check_schema, connect_reader, prepare, translated
from .writer import Writer

T = TypeVar("T")
Parameters = Sequence[Any] | Mapping[str, Any]

PAGE = 500
"""Rows fetched at a time from results that may be long."""


def now(ago: float = 0.0) -> str:
    """The time, `ago` seconds back, in the format of every time column: UTC, ISO 8601, milliseconds."""
    return (datetime.now(UTC) - timedelta(seconds=ago)).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


class Store:
    """An open store; `with Store.open(path) as store`. All methods may be called from any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Last in, first out: the connection used last has the most of what is read next in its page cache.
        self._idle: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        self._lock = threading.Lock()
        self._writer: Writer | None = None
        self._closed = False

    @classmethod
    def open(cls, path: str | Path, create: bool = True, *, altered: bool = False) -> Self:
        """Open, create or migrate the file. Raises StoreError and leaves the file unchanged if that is impossible.

        A schema that another program altered is refused, unless `altered` is true: `muser db check` reports it.
        """
        prepare(Path(path), create)
        store = cls(Path(path))
        try:
            if not altered:
                with store.reader() as db:
                    check_schema(db, store.path)
        except BaseException:
            store.close()
            raise
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what is queued and close every connection that is not in use."""
        with self._lock:
            self._closed = True
            writer = self._writer
        if writer is not None:
            writer.close()
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    @contextmanager
    def reader(self) -> Iterator[sqlite3.Connection]:
        """Lend a read-only connection; rows are `sqlite3.Row`. No two threads use a connection at the same time."""
        if self._closed:
            raise StoreError("The store is closed.", where=str(self.path))
        with translated(self.path):
            try:
                db = self._idle.get_nowait()
            except queue.Empty:
                db = connect_reader(self.path)
            try:
                yield db
            finally:
                if self._closed:
                    db.close()
                else:
                    self._idle.put(db)

    def read(self, sql: str, parameters: Parameters = ()) -> list[dict[str, Any]]:
        """All rows of a query as dicts; use `stream` for results that may be long."""
        with self.reader() as db:
            return [dict(row) for row in db.execute(sql, parameters)]

    def stream(self, sql: str, parameters: Parameters = ()) -> Generator[sqlite3.Row, None, None]:
        """The rows as of the start, a page in memory at a time.

        Close it soon: SQLite cannot reset the write-ahead log past an open reader (sqlite.org/wal.html).
        """
        with self.reader() as db:
            cursor = db.execute(sql, parameters)
            try:
                while page := cursor.fetchmany(PAGE):
                    yield from page
            finally:
                cursor.close()

    async def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Run `change` in the next group commit; returns after the commit. Cancelling the caller does not undo it."""
        return await self._open_writer().submit_from_loop(change)

    def write_now(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """`write` for code outside an event loop: blocks until the commit."""
        return self._open_writer().submit(change).result()

    def _open_writer(self) -> Writer:
        with self._lock:
            if self._closed:
                raise StoreError("The store is closed.", where=str(self.path))
            if self._writer is None:
                self._writer = Writer(self.path)
            return self._writer
