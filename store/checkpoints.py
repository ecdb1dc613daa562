"""LangGraph's checkpoints, in the store's own file: every superstep is on disk before the next one starts."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

# Read once, when langgraph is first imported: without it, graphs are compiled to load any class named in a checkpoint.
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")

import aiosqlite
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)
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

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        with connections.translated(self._path):
            return await super().aget_tuple(config)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return await asyncio.shield(self._whole(super().aput(config, checkpoint, metadata, new_versions)))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await asyncio.shield(self._whole(super().aput_writes(config, writes, task_id, task_path)))

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
