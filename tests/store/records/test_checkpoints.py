import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypedDict
from uuid import uuid4

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import Capability
from langgraph.graph import END, START, StateGraph

from muser.core.errors import ForeignDatabase, StoreBusy
from muser.core.types import Usage
from muser.store.file import connections
from muser.store.file.database import Store
from muser.store.file.texts import put_text
from muser.store.records.checkpoints import Checkpointer, open_checkpointer


class State(TypedDict, total=False):
    text: str
    steps: list[str]


def config(thread: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}


def machine() -> StateGraph[State]:
    def step(name: str) -> Any:
        return lambda state: {"steps": [*state.get("steps", []), name]}

    graph = StateGraph(State)
    graph.add_node("first", step("first"))
    graph.add_node("second", step("second"))
    graph.add_edge(START, "first")
    graph.add_edge("first", "second")
    graph.add_edge("second", END)
    return graph


async def test_every_step_is_in_the_stores_own_file_beside_our_tables(store: Store, path: Path) -> None:
    async with open_checkpointer(path) as saver:
        app = machine().compile(checkpointer=saver)
        assert (await app.ainvoke({"text": "hi"}, config("demo/s1"), durability="sync"))["steps"] == ["first", "second"]  # type: ignore[call-overload]
    async with open_checkpointer(path) as saver:
        state = await machine().compile(checkpointer=saver).aget_state(config("demo/s1"))  # type: ignore[arg-type]
    assert state.values == {"text": "hi", "steps": ["first", "second"]}
    assert len(store.read("SELECT id FROM checkpoints")) == 4
    assert [file.name for file in path.parent.iterdir() if file.suffix == ".db"] == [path.name]


async def test_a_file_that_is_not_there_yet_becomes_a_store(path: Path) -> None:
    async with open_checkpointer(path):
        pass
    with Store.open(path, create=False) as store:
        assert store.read("SELECT * FROM samples") == []


def test_a_database_of_another_program_is_not_touched(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE customers (id INTEGER)")
    before = path.read_bytes()

    async def use() -> None:
        async with open_checkpointer(path):
            pass

    with pytest.raises(ForeignDatabase):
        asyncio.run(use())
    assert path.read_bytes() == before


async def test_langgraphs_own_conformance_suite_passes_whole(tmp_path: Path) -> None:
    @checkpointer_test(name="muser")
    async def fresh() -> AsyncIterator[Checkpointer]:
        async with open_checkpointer(tmp_path / f"{uuid4()}.db") as saver:
            yield saver

    report = await validate(fresh)
    failed = {name: result.failures for name, result in report.results.items() if not result.passed}
    assert not failed
    assert set(report.results) == {capability.value for capability in Capability}


async def test_a_value_is_stored_once_however_many_checkpoints_and_writes_hold_it(store: Store) -> None:
    text = "A long answer. " * 40
    async with open_checkpointer(store) as saver:
        app = machine().compile(checkpointer=saver)
        await app.ainvoke({"text": text}, config("demo/s1"), durability="sync")  # type: ignore[call-overload]
        history = [found async for found in saver.alist(config("demo/s1"))]  # type: ignore[arg-type]
    assert sum("text" in found.checkpoint["channel_values"] for found in history) == 3
    stored = store.read("SELECT length(data) AS n FROM checkpoint_values ORDER BY n DESC")
    # The graph's input is one value that holds the text, the channel another.
    assert len([row for row in stored if row["n"] > 30]) == 2
    assert stored[0]["n"] < len(text) / 5


async def test_forks_of_one_thread_keep_their_values_apart(store: Store) -> None:
    long = "x" * 100
    async with open_checkpointer(store) as saver:
        app: Any = machine().compile(checkpointer=saver)
        await app.ainvoke({"text": "hi"}, config("demo/s1"), durability="sync")
        history = [found async for found in app.aget_state_history(config("demo/s1"))]
        first = next(found for found in history if found.next == ("second",))
        forks = [await app.aupdate_state(first.config, {"steps": [f"{long}{n}"]}, as_node="first") for n in range(3)]
        ends = [await app.ainvoke(None, fork, durability="sync") for fork in forks]
    assert [end["steps"] for end in ends] == [[f"{long}{n}", "second"] for n in range(3)]


async def test_the_saver_and_the_writer_share_the_file_under_load(store: Store, path: Path) -> None:
    async with open_checkpointer(path) as saver:
        app = machine().compile(checkpointer=saver)

        async def sample(number: int) -> None:
            await asyncio.gather(
                app.ainvoke({"text": f"{number}"}, config(f"demo/s{number}"), durability="sync"),  # type: ignore[call-overload]
                store.write(lambda db: put_text(db, f"text {number}")),
            )

        await asyncio.gather(*(sample(n) for n in range(30)))
    assert store.read("SELECT count(*) AS n FROM texts") == [{"n": 30}]
    assert store.read("SELECT count(DISTINCT thread) AS n FROM checkpoints") == [{"n": 30}]


async def test_a_cancelled_write_is_made_whole_and_locks_nobody_out(store: Store, path: Path) -> None:
    async with open_checkpointer(path) as saver:
        for turn in range(20):
            thread, text = config(f"demo/s{turn}"), f"text {turn}"
            task = asyncio.ensure_future(saver.aput(thread, empty_checkpoint(), {}, {}))  # type: ignore[arg-type]
            for _ in range(turn):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await store.write(partial(put_text, text=text))
    assert len(store.read("SELECT * FROM texts")) == 20
    assert len(store.read("SELECT * FROM checkpoints")) >= 19


async def test_a_locked_file_is_a_store_error_and_leaves_nothing_half_written(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 0.05)
    async with open_checkpointer(path) as saver:
        made = await saver.aput(config("demo/s1"), empty_checkpoint(), {}, {})  # type: ignore[arg-type]
        with closing(sqlite3.connect(path)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreBusy):
                await saver.aput_writes(made, [("text", "a"), ("steps", ["b"])], "task")
        await store.write(lambda db: put_text(db, "after"))
        await saver.aput_writes(made, [("text", "c")], "task")
    assert len(store.read("SELECT * FROM writes")) == 1


async def test_no_class_is_built_from_a_checkpoint_even_if_langgraph_was_imported_first(path: Path) -> None:
    values = {"model": Usage(tokens_in=1), "plain": {"a": [1, None]}}
    async with open_checkpointer(path) as saver:
        saved = await saver.aput(config("t"), empty_checkpoint() | {"channel_values": values}, {}, {})  # type: ignore[arg-type]
        found = await saver.aget_tuple(saved)
    assert found is not None
    assert found.checkpoint["channel_values"] == {"model": Usage(tokens_in=1).model_dump(), "plain": {"a": [1, None]}}


def test_importing_checkpoints_makes_langgraph_strict() -> None:
    code = (
        "import muser.store.records.checkpoints, langgraph.checkpoint.serde._msgpack as m; "
        "print(m.STRICT_MSGPACK_ENABLED)"
    )
    bare = {name: value for name, value in os.environ.items() if name != "LANGGRAPH_STRICT_MSGPACK"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=bare)
    assert done.stdout == "True\n"
