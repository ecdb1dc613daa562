"""LangGraph's checkpoints in the store's own file, written by its one writer in group commits.

A superstep stores what it changed and not the whole state: each value is written once per thread, compressed, however
many checkpoints and node writes refer to it. A value that quotes a stored text, such as a reply, refers to that text.
`aput` and `aput_writes` return after their commit, so with `durability="sync"` every superstep survives a kill.
"""

import asyncio
import json
import os
import sqlite3
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

# langgraph/checkpoint/serde/_msgpack.py reads this once, at import. Without it, loading a checkpoint imports and builds
# any class that the checkpoint names.
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")

import ormsgpack
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from ...core.errors import DamagedDatabase
from ..file.database import Store
from ..file.packing import Blob, long_texts, pack_state, pack_value, unpack_state, unpack_value, value_digest
from ..file.texts import CHECK

INLINE = 64  # bytes; up to this size a value takes less space in the state than in a row of its own
RECENT = 2048  # threads whose last checkpoint is kept in memory

Entry = list[Any]
"""[kind, bytes] for a short value, [kind, digest, True] for one in `checkpoint_values`."""
Change = Callable[[sqlite3.Connection], Any]


@asynccontextmanager
async def open_checkpointer(store: Store | str | Path) -> AsyncIterator["Checkpointer"]:
    """A saver on an open store, or on the store at a path. Raises StoreErrors."""
    if isinstance(store, Store):
        yield Checkpointer(store)
        return
    with Store.open(store) as opened:
        yield Checkpointer(opened)


class Checkpointer(BaseCheckpointSaver[int]):
    """A saver for many threads at once. Not for graphs with a DeltaChannel: `prune` would cut its history."""

    def __init__(self, store: Store) -> None:
        # None allows no classes, even if langgraph was imported before the variable above was set.
        super().__init__(serde=JsonPlusSerializer(allowed_msgpack_modules=None))
        self._store = store
        # (thread, namespace) → its last checkpoint's id and entries, which the next checkpoint takes over.
        self._recent: OrderedDict[tuple[str, str], tuple[str, dict[str, tuple[Any, Entry]]]] = OrderedDict()
        # The long texts of each thread's values: a later value may contain them.
        self._said: OrderedDict[tuple[str, str], dict[str, None]] = OrderedDict()

    # -- reading; LangGraph's checkpoint ids are UUIDv6 (langgraph/checkpoint/base/id.py): their order is that of time

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that the config names, else its thread's latest."""
        place = config["configurable"]
        wanted = get_checkpoint_id(config)
        with self._store.reader() as db:
            row = db.execute(
                f"{SELECT} WHERE t.name = ? AND t.ns = ? {'AND c.id = ?' if wanted else ''} ORDER BY c.id DESC LIMIT 1",
                (place["thread_id"], place.get("checkpoint_ns", ""), *([wanted] if wanted else [])),
            ).fetchone()
            return self._tuple(db, row) if row else None

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        # On the event loop and not in a thread: it reads a few rows of one sample.
        return self.get_tuple(config)

    def last_id(self, thread_id: str) -> str | None:
        """The id of a thread's latest checkpoint, or None."""
        rows = self._store.read(LAST, (thread_id,))
        return rows[0]["id"] if rows else None

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Checkpoints of one thread or of all, newest first; `filter` compares metadata keys."""
        place = config["configurable"] if config else {}
        conditions = {
            "t.name = ?": place.get("thread_id"),
            "t.ns = ?": place.get("checkpoint_ns"),
            "c.id = ?": get_checkpoint_id(config) if config else None,
            "c.id < ?": get_checkpoint_id(before) if before else None,
        }
        given = {text: value for text, value in conditions.items() if value is not None}
        where = f"WHERE {' AND '.join(given)}" if given else ""
        found = 0
        for row in self._store.stream(f"{SELECT} {where} ORDER BY c.id DESC", tuple(given.values())):
            if limit is not None and found >= limit:
                return
            metadata = json.loads(row["metadata"])
            if all(metadata.get(key) == value for key, value in (filter or {}).items()):
                found += 1
                with self._store.reader() as db:
                    yield self._tuple(db, row)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        for found in self.list(config, filter=filter, before=before, limit=limit):
            yield found

    # -- writing

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint; after the commit, returns the config that names it."""
        change, stored = self._put(config, checkpoint, metadata)
        with self._forgetting(config):
            self._store.write_now(change)
        return stored

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        change, stored = self._put(config, checkpoint, metadata)
        with self._forgetting(config):
            await self._store.write(change)
        return stored

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store a node's writes on top of a checkpoint; returns after the commit.

        If a sibling fails or the process is killed, LangGraph resumes from these writes and does not rerun the node.
        """
        self._store.write_now(self._put_writes(config, writes, task_id, task_path))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await self._store.write(self._put_writes(config, writes, task_id, task_path))

    # -- maintenance

    def delete_thread(self, thread_id: str) -> None:
        """Delete a thread's checkpoints, values and writes (by foreign key)."""
        self._store.write_now(lambda db: db.execute("DELETE FROM threads WHERE name = ?", (thread_id,)))
        # Its entries refer to values that the file no longer has.
        self._recent.clear()

    async def adelete_thread(self, thread_id: str) -> None:
        await asyncio.to_thread(self.delete_thread, thread_id)

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete all checkpoints with one of these `run_id`s in their metadata, and the writes on top of them."""

        def change(db: sqlite3.Connection) -> None:
            wanted = json.dumps(list(run_ids))
            threads = db.execute(THREADS_OF_RUNS, (wanted,)).fetchall()
            db.execute(DELETE_RUNS, (wanted,))
            for (thread,) in threads:
                _sweep(db, thread)

        self._store.write_now(change)
        self._recent.clear()

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await asyncio.to_thread(self.delete_for_runs, run_ids)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread's checkpoints, values and writes to another name."""

        def change(db: sqlite3.Connection) -> None:
            for thread, ns in db.execute("SELECT id, ns FROM threads WHERE name = ?", (source_thread_id,)).fetchall():
                target = _thread(db, target_thread_id, ns)
                for copy in COPIES:
                    db.execute(copy, (target, thread))

        self._store.write_now(change)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await asyncio.to_thread(self.copy_thread, source_thread_id, target_thread_id)

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Drop all checkpoints except the latest of each namespace or, with `delete`, all of them."""
        if strategy not in ("keep_latest", "delete"):
            raise ValueError(f"unknown strategy {strategy!r}: give keep_latest or delete")

        def change(db: sqlite3.Connection) -> None:
            for name in thread_ids:
                if strategy == "delete":
                    db.execute("DELETE FROM threads WHERE name = ?", (name,))
                    continue
                for (thread,) in db.execute("SELECT id FROM threads WHERE name = ?", (name,)).fetchall():
                    db.execute(OLDER, (thread, thread))
                    _sweep(db, thread)

        self._store.write_now(change)
        self._recent.clear()

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        await asyncio.to_thread(self.prune, thread_ids, strategy=strategy)

    # -- packing

    def _put(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata
    ) -> tuple[Change, RunnableConfig]:
        place = config["configurable"]
        name, ns, parent = place["thread_id"], place.get("checkpoint_ns", ""), get_checkpoint_id(config)
        values, versions = checkpoint["channel_values"], checkpoint["channel_versions"]
        last, known = self._recent.get((name, ns), (None, {}))
        # A channel keeps its version until a node writes to it: an equal version means an equal value, which needs no
        # second serialization. After a fork or a restart the parent is another checkpoint, and nothing is skipped.
        kept = known if last == parent else {}
        entries: dict[str, tuple[Any, Entry]] = {}
        blobs: dict[bytes, Blob] = {}
        for channel, value in values.items():
            version = versions.get(channel)
            if version is not None and channel in kept and kept[channel][0] == version:
                entries[channel] = kept[channel]
            else:
                entries[channel] = (version, self._entry(value, blobs, (name, ns)))
        rest = {key: value for key, value in checkpoint.items() if key != "channel_values"}
        packed = ormsgpack.packb([*self.serde.dumps_typed(rest), {name: entry for name, (_, entry) in entries.items()}])
        said = get_checkpoint_metadata(config, metadata)
        row = (checkpoint["id"], parent, said.get("run_id"), json.dumps(said))
        self._recent[name, ns] = (checkpoint["id"], entries)
        self._recent.move_to_end((name, ns))
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)

        def change(db: sqlite3.Connection) -> None:
            thread = _thread(db, name, ns)
            _put_values(db, thread, blobs)
            db.execute(PUT, (thread, *row, pack_state(packed)))

        stored = {"thread_id": name, "checkpoint_ns": ns, "checkpoint_id": checkpoint["id"]}
        return change, {"configurable": stored}

    @contextmanager
    def _forgetting(self, config: RunnableConfig) -> Iterator[None]:
        """If the block fails, forget the thread's last checkpoint: it was not stored, so none may build on it."""
        place = config["configurable"]
        try:
            yield
        except BaseException:
            self._recent.pop((place["thread_id"], place.get("checkpoint_ns", "")), None)
            raise

    def _put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> Change:
        place = config["configurable"]
        blobs: dict[bytes, Blob] = {}
        rows = [
            (
                place["checkpoint_id"],
                task_id,
                WRITES_IDX_MAP.get(channel, index),
                task_path,
                channel,
                ormsgpack.packb(self._entry(value, blobs, (place["thread_id"], place.get("checkpoint_ns", "")))),
            )
            for index, (channel, value) in enumerate(writes)
        ]

        def change(db: sqlite3.Connection) -> None:
            thread = _thread(db, place["thread_id"], place.get("checkpoint_ns", ""))
            _put_values(db, thread, blobs)
            # A negative index (WRITES_IDX_MAP) is an error or interrupt, which a later one replaces. A node's regular
            # writes stay as first stored, as in langgraph-checkpoint-sqlite.
            db.executemany(PUT_WRITE, [(thread, *row) for row in rows if row[2] >= 0])
            db.executemany(REPLACE_WRITE, [(thread, *row) for row in rows if row[2] < 0])

        return change

    def _entry(self, value: Any, blobs: dict[bytes, Blob], thread: tuple[str, str]) -> Entry:
        kind, data = self.serde.dumps_typed(value)
        # `kind` names the format, which for JSON values is msgpack (langgraph/checkpoint/serde/jsonplus.py).
        if len(data) <= INLINE:
            return [kind, data]
        name = value_digest(data)
        before = self._said.setdefault(thread, {})
        if len(self._said) > RECENT:
            self._said.popitem(last=False)
        said = dict.fromkeys(long_texts(value))
        quoted = [text for text in before if any(text in whole for whole in said)]
        before |= said
        blobs[name] = Blob(data, [*said, *quoted])
        return [kind, name, True]

    def _tuple(self, db: sqlite3.Connection, row: sqlite3.Row) -> CheckpointTuple:
        thread = row["thread"]

        def value(entry: Entry) -> Any:
            if len(entry) == 2:
                return self.serde.loads_typed((entry[0], entry[1]))
            stored = db.execute(VALUE, (thread, entry[1])).fetchone()
            if stored is None:
                raise DamagedDatabase(f"A value in the steps of {row['name']} is missing.", todo=CHECK)
            return self.serde.loads_typed((entry[0], unpack_value(db, *stored)))

        kind, rest, entries = ormsgpack.unpackb(unpack_state(row["state"]))
        checkpoint: Any = self.serde.loads_typed((kind, rest))
        checkpoint["channel_values"] = {channel: value(entry) for channel, entry in entries.items()}
        writes = [
            (write["task"], write["channel"], value(ormsgpack.unpackb(write["value"])))
            for write in db.execute(WRITES, (thread, row["id"]))
        ]
        place = {"thread_id": row["name"], "checkpoint_ns": row["ns"]}
        return CheckpointTuple(
            config={"configurable": place | {"checkpoint_id": row["id"]}},
            checkpoint=checkpoint,
            metadata=json.loads(row["metadata"]),
            parent_config={"configurable": place | {"checkpoint_id": row["parent"]}} if row["parent"] else None,
            pending_writes=writes,
        )


SELECT = "SELECT t.name, t.ns, c.* FROM checkpoints c JOIN threads t ON t.id = c.thread"
VALUE = "SELECT data, texts FROM checkpoint_values WHERE thread = ? AND digest = ?"
LAST = """
    SELECT c.id FROM checkpoints c JOIN threads t ON t.id = c.thread WHERE t.name = ? AND t.ns = ''
    ORDER BY c.id DESC LIMIT 1"""
WRITES = "SELECT task, channel, value FROM writes WHERE thread = ? AND checkpoint = ? ORDER BY path, task, idx"
OLDER = "DELETE FROM checkpoints WHERE thread = ? AND id < (SELECT max(id) FROM checkpoints WHERE thread = ?)"
PUT = "INSERT OR REPLACE INTO checkpoints (thread, id, parent, run, metadata, state) VALUES (?, ?, ?, ?, ?, ?)"
PUT_VALUE = "INSERT INTO checkpoint_values (thread, digest, data, texts) VALUES (?, ?, ?, ?)"
HAS_VALUE = "SELECT 1 FROM checkpoint_values WHERE thread = ? AND digest = ?"
PUT_WRITE = """
    INSERT OR IGNORE INTO writes (thread, checkpoint, task, idx, path, channel, value) VALUES (?, ?, ?, ?, ?, ?, ?)"""
REPLACE_WRITE = PUT_WRITE.replace("IGNORE", "REPLACE")
THREADS_OF_RUNS = "SELECT DISTINCT thread FROM checkpoints WHERE run IN (SELECT value FROM json_each(?))"
DELETE_RUNS = "DELETE FROM checkpoints WHERE run IN (SELECT value FROM json_each(?))"
COPIES = (
    """INSERT OR IGNORE INTO checkpoint_values (thread, digest, data, texts)
       SELECT ?, digest, data, texts FROM checkpoint_values WHERE thread = ?""",
    """INSERT OR IGNORE INTO checkpoints (thread, id, parent, run, metadata, state)
       SELECT ?, id, parent, run, metadata, state FROM checkpoints WHERE thread = ?""",
    """INSERT OR IGNORE INTO writes (thread, checkpoint, task, idx, path, channel, value)
       SELECT ?, checkpoint, task, idx, path, channel, value FROM writes WHERE thread = ?""",
)


def _thread(db: sqlite3.Connection, name: str, ns: str) -> int:
    found = db.execute("SELECT id FROM threads WHERE name = ? AND ns = ?", (name, ns)).fetchone()
    if found is None:
        found = db.execute("INSERT INTO threads (name, ns) VALUES (?, ?) RETURNING id", (name, ns)).fetchone()
    return int(found[0])


def _put_values(db: sqlite3.Connection, thread: int, blobs: Mapping[bytes, Blob]) -> None:
    for name, blob in blobs.items():
        if db.execute(HAS_VALUE, (thread, name)).fetchone() is None:
            db.execute(PUT_VALUE, (thread, name, *pack_value(db, blob)))


def _sweep(db: sqlite3.Connection, thread: int) -> None:
    """Delete a thread's writes and values that none of its checkpoints needs."""
    db.execute(
        "DELETE FROM writes WHERE thread = ?1 AND checkpoint NOT IN (SELECT id FROM checkpoints WHERE thread = ?1)",
        (thread,),
    )
    states = db.execute("SELECT state FROM checkpoints WHERE thread = ?", (thread,)).fetchall()
    entries = [entry for (state,) in states for entry in ormsgpack.unpackb(unpack_state(state))[2].values()]
    entries += [ormsgpack.unpackb(row[0]) for row in db.execute("SELECT value FROM writes WHERE thread = ?", (thread,))]
    needed = {entry[1] for entry in entries if len(entry) == 3}
    present = {row[0] for row in db.execute("SELECT digest FROM checkpoint_values WHERE thread = ?", (thread,))}
    db.executemany(
        "DELETE FROM checkpoint_values WHERE thread = ? AND digest = ?", [(thread, name) for name in present - needed]
    )
