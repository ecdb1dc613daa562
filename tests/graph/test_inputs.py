"""Query files: what a line may hold, what it is called, and what is refused before anything is asked."""

import asyncio
import json
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muser.core.errors import InputError
from muser.core.recipe import Recipe
from muser.core.types import Message, Response, SampleInput
from muser.graph.inputs import key_of, read_queries
from muser.graph.run import run_recipe
from muser.store.file.database import Store
from muser.store.queries.export import export_rows, rows
from muser.store.records.ledger import calls_of
from muser.store.records.samples import get_trace

MakeRecipe = Callable[..., Recipe]
CHAT = [
    {"role": "user", "content": "My back has hurt for a while."},
    {"role": "assistant", "content": "Since when exactly?"},
    {"role": "user", "content": "Since Monday, when I lifted a crate."},
]
PERSONA = dict.fromkeys(
    ("identity", "region", "condition", "intent", "vagueness", "completeness", "style"), "as the file says"
)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def to_file(*lines: dict[str, Any] | str) -> Path:
        path = tmp_path / "q.jsonl"
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
        return path

    return to_file


def read(path: Path) -> list[SampleInput]:
    return list(read_queries(path))


def test_a_query_keeps_its_key_and_the_digest_of_a_file_changes_when_a_line_is_put_on_top(
    write: Callable[..., Path],
) -> None:
    before = read_queries(write({"query": "One?"}, {"query": "Two?"}))
    keys = [given.key for given in before]
    after = read_queries(write({"query": "New?"}, {"query": "One?", "note": "x"}, {"query": " Two? "}))
    assert [given.key for given in after][1:] == keys
    assert after.digest != before.digest


@pytest.mark.parametrize(
    ("given", "key"),
    [("ward-7", "ward-7"), (7, "7"), ("a/b 1?", "a%2Fb%201%3F"), ("x:2", "x%3A2"), ("\ud800", "%ED%A0%80")],
)
def test_an_id_becomes_a_key_that_a_path_and_an_address_can_hold(
    given: str | int, key: str, write: Callable[..., Path]
) -> None:
    assert read(write({"id": given, "query": "One?"}))[0].key == key == key_of(str(given))


def test_a_conversation_a_persona_and_other_fields_are_kept(write: Callable[..., Path]) -> None:
    [given] = read(write({"messages": CHAT, "persona": PERSONA, "source": "ward 7", "tags": ["a", 1, None]}))
    assert given.history == tuple(Message(**turn) for turn in CHAT[:-1])
    assert given.query == CHAT[-1]["content"]
    assert given.persona is not None
    assert given.persona["region"] == "as the file says"
    assert given.extra == {"source": "ward 7", "tags": ["a", 1, None]}


def test_a_query_may_bring_a_persona_of_any_attributes(write: Callable[..., Path]) -> None:
    [given] = read(write({"query": "One?", "persona": {"ward": "7", "first language": "हिन्दी"}}))
    assert given.persona == {"ward": "7", "first language": "हिन्दी"}


def test_inline_reasoning_is_split_wherever_the_answer_stands(write: Callable[..., Path]) -> None:
    answer = "<think>\nHow long?\n</think>\n\nRest."
    first, second = read(
        write(
            {"query": "One?", "response": {"answer": answer}},
            {"messages": [*CHAT, {"role": "assistant", "content": answer}]},
        )
    )
    assert first.response == second.response == Response(reasoning="How long?", answer="Rest.")
    assert len(second.history) == 2


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ({"note": "x"}, "give query or messages"),
        ({"query": "One?", "messages": CHAT}, "give query or messages, not both"),
        ({"query": " "}, "a message must not be empty"),
        ({"messages": []}, "messages: "),
        ({"messages": [*CHAT, {"role": "tool", "content": "x"}]}, "messages.3.role"),
        ({"messages": [CHAT[0], {"role": "system", "content": "x"}, CHAT[0]]}, "only the first message"),
        ({"messages": [*CHAT, CHAT[1]], "response": {"answer": "x"}}, "response is given too"),
        ({"query": "One?", "response": {"answer": " "}}, "response.answer: has no answer"),
        ({"query": "One?", "response": {"answer": "<think>why</think>"}}, "response.answer: has no answer"),
        ({"query": "One?", "response": {"answer": "a <think>b</think> c</think> d"}}, "more than one think block"),
        ({"query": "One?", "response": {"answer": "<think>b</think>c", "reasoning": "d"}}, "reasoning is given too"),
        ({"query": "One?", "response": {"answer": "a", "score": 1}}, "response.score"),
        ({"query": "One?", "persona": {"age": 7}}, "persona.age: input should be a valid string"),
        ({"query": "One?", "persona": {"my.age": "7"}}, "persona.my.age: a name starts with a letter"),
        ({"query": "One?", "persona": {"age": " "}}, "persona.age: must not be empty"),
        ({"query": "One?", "persona": ["patient"]}, "persona: input should be a valid dictionary"),
        ({"id": "", "query": "One?"}, "id must not be empty"),
        ({"id": "s000001", "query": "One?"}, "simulated sample"),
        ({"id": "t000001", "query": "One?"}, "simulated sample"),
        ({"id": "a", "query": "Zero?"}, "line 1"),
        ("[]", "not a JSON object"),
    ],
)
def test_what_could_not_be_run_exported_or_trained_on_is_named_with_its_line(
    line: dict[str, Any] | str, fault: str, write: Callable[..., Path]
) -> None:
    path = write({"id": "a", "query": "Good?"}, line, {"id": "c", "query": "Better?"})
    with pytest.raises(InputError, match=re.escape(fault)) as refused:
        read_queries(path)
    assert f"{path}:2: " in refused.value.what


def test_a_query_that_is_asked_twice_without_ids_is_named(write: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match=r"q\.jsonl:3: has the same id or the same query as line 1"):
        read_queries(write({"query": "One?"}, {"query": "Two?"}, {"query": "One?", "note": "x"}))


def test_a_long_file_is_not_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    with path.open("w") as file:
        file.writelines(json.dumps({"id": n, "query": f"{n} " + "why " * 500}) + "\n" for n in range(800))
    tracemalloc.start()
    try:
        queries = read_queries(path)
        assert sum(1 for _ in queries) == queries.count == 800
        assert tracemalloc.get_traced_memory()[1] < path.stat().st_size / 4
    finally:
        tracemalloc.stop()


async def test_a_conversation_reaches_the_responder_as_turns_and_the_rows_too(
    simulated: str, make_recipe: MakeRecipe, store: Store, write: Callable[..., Path]
) -> None:
    write({"id": "back/1", "messages": CHAT, "source": "ward 7"})
    summary = await run_recipe(make_recipe(simulated, queries="q.jsonl", samples=0), store)
    assert (summary.done, summary.failed) == (1, 0)
    calls = {call.role: call for call in calls_of(store, "trial/back%2F1")}
    assert [message.model_dump() for message in calls["responder"].messages[1:]] == CHAT
    asked = "user: My back has hurt for a while.\n\nassistant: Since when exactly?\n\nuser: Since Monday"
    assert all(asked in calls[role].messages[-1].content for role in ("critics.safety", "refiner"))
    trace = get_trace(store, "trial/back%2F1")
    assert [turn.model_dump() for turn in trace.history] == CHAT[:-1]
    for stage in ("distill", "refine"):
        [row] = rows(store, "trial", stage)
        assert (row["prompt"], row["extra"]) == (CHAT, {"source": "ward 7"})


async def test_a_line_put_on_top_of_a_file_costs_its_own_calls_only(
    simulated: str, make_recipe: MakeRecipe, store: Store, write: Callable[..., Path]
) -> None:
    write({"query": "One?"}, {"query": "Two?"})
    recipe = make_recipe(simulated, queries="q.jsonl", samples=0)
    before = await run_recipe(recipe, store)
    write({"query": "New?"}, {"query": "One?"}, {"query": "Two?"})
    after = await run_recipe(recipe, store, new=True)
    made = [sum(usage.calls for usage in summary.usage) for summary in (before, after)]
    assert (made[0], made[1]) == (10, 5)
    assert sum(usage.reused for usage in after.usage) == 10


async def test_exports_of_a_run_that_was_stopped_and_resumed_are_byte_for_byte_those_of_one_that_was_not(
    simulated: str, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe, stop = make_recipe(simulated, samples=2, concurrency=1), asyncio.Event()

    async def exported(name: str) -> bytes:
        path = tmp_path / f"{name}.jsonl"
        with Store.open(tmp_path / f"{name}.db") as store:
            if name == "stopped":
                first = await run_recipe(recipe, store, on_progress=lambda p: stop.set() if p.done else None, stop=stop)
                assert (first.done, first.pending) == (1, 1)
            assert (await run_recipe(recipe, store)).done == 2
            export_rows(store, "trial", "refine", path)
        return path.read_bytes()

    assert await exported("whole") == await exported("stopped")
