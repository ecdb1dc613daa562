"""LangGraph's checkpoints, in the store's own file: every superstep is on disk before the next one starts."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

# Read once, when langgraph is first imported: without it, graphs are compiled to load any class named in a checkpoint.
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")

import aiosqlite
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from . import connections

T = TypeVar("T")


@asynccontextmanager
async def open_checkpointer(path: str | Path) -> AsyncIterator[BaseCheckpointSaver[str]]:
    """A saver on the store's file, with a connection of its own that is closed at the end. Raises StoreErrors."""
    path = Path(path)
    connections.prepare(path)
    with connections.translated(path):
        connection = await aiosqlite.connect(path, timeout=connections.PATIENCE)
    saver = _Saver(path, connection)
    try:
        with connections.translated(path):
            await connection.execute("PRAGMA synchronous = FULL")
            await saver.setup()
        yield saver
    finally:
        await saver.settle()
        await connection.close()


class _Saver(AsyncSqliteSaver):
    """LangGraph's saver, which reads values only and whose writes are whole.

    The stock one, when it is cancelled or fails between a row and its commit, leaves a transaction open that locks
    everybody else out and that a later commit completes by halves.
    """

    def __init__(self, path: Path, connection: aiosqlite.Connection) -> None:
        # None allows no classes, also where langgraph was imported before the variable above was set.
        super().__init__(connection, serde=JsonPlusSerializer(allowed_msgpack_modules=None))
        self._path = path
        self._turn = asyncio.Lock()

    async def aget_tuple(self, *args: Any, **named: Any) -> CheckpointTuple | None:
        with connections.translated(self._path):
            return await super().aget_tuple(*args, **named)

    async def aput(self, *args: Any, **named: Any) -> Any:
        return await asyncio.shield(self._whole(super().aput(*args, **named)))

    async def aput_writes(self, *args: Any, **named: Any) -> None:
        await asyncio.shield(self._whole(super().aput_writes(*args, **named)))

    async def adelete_thread(self, thread_id: str) -> None:
        await asyncio.shield(self._whole(super().adelete_thread(thread_id)))

    async def settle(self) -> None:
        """Wait for the writes whose callers were cancelled."""
        async with self._turn:
            pass

    async def _whole(self, write: Awaitable[T]) -> T:
        async with self._turn:
            try:
                with connections.translated(self._path):
                    return await write
            except BaseException:
                with suppress(sqlite3.Error):
                    await self.conn.rollback()
                raise
