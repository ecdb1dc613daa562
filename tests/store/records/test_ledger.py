import asyncio
from typing import Any

import pytest

from muser.core.types import Message, Reply, SampleInput, Usage
from muser.store.file.database import Store
from muser.store.records import ledger
from muser.store.records.ledger import Call, calls_of, find_call, record_call, request_hash, reused_from, usage_by_role
from muser.store.records.runs import Run, create_run
from muser.store.records.samples import add_samples

MESSAGES = (Message(role="system", content="Be kind."), Message(role="user", content="A burn?\ud800\0"))
PARAMETERS: dict[str, Any] = {
    "model": "served/name",
    "temperature": 0.7,
    "seed": 11,
    "max_tokens": 9,
    "stop": ["\ud800"],
}
HASH = request_hash(MESSAGES, PARAMETERS, "")


@pytest.fixture
def sample(store: Store, run: Run) -> str:
    """The same key in two runs."""
    create_run(store, run.model_copy(update={"id": "variant"}))
    for run_id in ("demo", "variant"):
        add_samples(store, run_id, [SampleInput(key="s1"), SampleInput(key="s2")], 1)
    return "demo/s1"


def call(sample_id: str = "demo/s1", **changed: Any) -> Call:
    usage = Usage(tokens_in=100, tokens_out=20, tokens_cached=60)
    reply = Reply(text="a\ud800\0", reasoning="r\udfff", finish_reason="stop", model="served", usage=usage, seconds=1.5)
    return Call(
        **{
            "sample_id": sample_id,
            "role": "responder",
            "request_hash": HASH,
            "model": "teacher",
            "messages": MESSAGES,
            "parameters": PARAMETERS,
            "reply": reply,
            "outcome": "ok",
        }
        | changed
    )


def plain(recorded: Call) -> Call:
    return recorded.model_copy(update={"id": None, "created_at": ""})


async def find(store: Store, sample_id: str, **changed: Any) -> Reply | None:
    place: dict[str, Any] = {"role": "responder", "round": 1, "attempt": 1, "request_hash": HASH} | changed
    return await find_call(store, sample_id, **place)


def test_two_requests_are_the_same_when_nothing_that_decides_the_reply_differs() -> None:
    assert request_hash(list(MESSAGES), dict(reversed(PARAMETERS.items())), "") == HASH
    others = [
        request_hash(MESSAGES[1:], PARAMETERS, ""),
        request_hash(MESSAGES, PARAMETERS | {"seed": 12}, ""),
        request_hash(MESSAGES, PARAMETERS, "checkpoint 2"),
        request_hash((Message(role="user", content="Be kind."), MESSAGES[1]), PARAMETERS, ""),
    ]
    assert len({HASH, *others}) == 5


async def test_a_call_comes_back_exactly(store: Store, sample: str) -> None:
    for made in (
        call(),
        call(role="critics.safety", round=2, attempt=3, outcome="truncated"),
        call(role="judge", parameters={}, reply=Reply(text="")),
        call(role="refiner", parameters={"seed": "not a number", "nested": {"a": [1, None, True]}}, messages=()),
        call(role="persona", parameters={"seed": True}),
    ):
        await record_call(store, made)
        assert plain(calls_of(store, sample)[-1]) == made


async def test_a_recorded_call_is_found_at_its_place_only(store: Store, sample: str) -> None:
    assert await find(store, sample) is None
    await record_call(store, call())
    assert await find(store, sample) == call().reply
    for changed in ({"role": "refiner"}, {"round": 2}, {"attempt": 2}, {"request_hash": "00" * 32}):
        assert await find(store, sample, **changed) is None
    assert await find(store, "demo/s2") is None, "another sample of the same run draws its own reply"


async def test_the_first_row_for_a_request_stays(store: Store, sample: str) -> None:
    first = await record_call(store, call())
    assert await record_call(store, call(reply=Reply(text="second"))) == first
    assert await asyncio.gather(*(record_call(store, call()) for _ in range(5))) == [first] * 5
    assert await find(store, sample) == call().reply


async def test_another_run_shares_an_identical_call_of_the_same_key(store: Store, sample: str) -> None:
    original = await record_call(store, call(attempt=2))
    assert await find(store, "variant/s1", attempt=2) == call().reply
    (reused,) = calls_of(store, "variant/s1")
    assert plain(reused) == call("variant/s1", attempt=2, reused_from=original)
    assert await find(store, "variant/s1", attempt=2) == call().reply
    assert len(calls_of(store, "variant/s1")) == 1
    assert await find(store, "variant/s2", attempt=2) is None


async def test_a_shared_call_is_traced_to_where_it_was_made(store: Store, run: Run, sample: str) -> None:
    original = await record_call(store, call())
    await find(store, "variant/s1")
    create_run(store, run.model_copy(update={"id": "third"}))
    add_samples(store, "third", [SampleInput(key="s1")], 1)
    await find(store, "third/s1")
    assert calls_of(store, "third/s1")[0].reused_from == original


async def test_an_unusable_reply_is_found_by_its_own_sample_and_shared_with_no_other(store: Store, sample: str) -> None:
    await record_call(store, call(outcome="malformed"))
    await record_call(store, call(outcome="prose", role="critics.safety"))
    assert await find(store, sample) is not None
    assert await find(store, "variant/s1") is None
    assert await find(store, "variant/s1", role="critics.safety") is not None


async def test_a_sample_may_be_kept_to_its_own_calls(store: Store, sample: str) -> None:
    await record_call(store, call())
    place = {"role": "responder", "round": 1, "attempt": 1, "request_hash": HASH}
    assert await find_call(store, "variant/s1", **place, others=False) is None  # type: ignore[arg-type]
    assert await find_call(store, sample, **place, others=False) == call().reply  # type: ignore[arg-type]


async def test_a_call_that_is_made_again_supersedes_its_row_each_time(store: Store, sample: str) -> None:
    for text in ("first", "second", "third"):
        await record_call(store, call(reply=Reply(text=text)), again=True)
    assert [(one.reply.text, one.superseded) for one in calls_of(store, sample)] == [
        ("first", 1),
        ("second", 2),
        ("third", 0),
    ]
    assert await find(store, sample) == Reply(text="third")


async def test_reused_calls_are_counted_by_the_run_that_made_them(store: Store, run: Run, sample: str) -> None:
    create_run(store, run.model_copy(update={"id": "third"}))
    add_samples(store, "third", [SampleInput(key="s1")], 1)
    await record_call(store, call())
    for role in ("refiner", "persona"):
        await record_call(store, call("variant/s1", role=role))
    for role in ("responder", "refiner", "persona"):
        await find(store, "third/s1", role=role)
    assert list(reused_from(store, "third").items()) == [("variant", 2), ("demo", 1)]
    assert reused_from(store, "demo") == {}


async def test_usage_counts_requests_and_not_reused_calls(store: Store, sample: str) -> None:
    await record_call(store, call(role="critics.safety", outcome="malformed"))
    await record_call(store, call(role="critics.safety", attempt=2))
    await record_call(store, call(role="refiner"))
    await find(store, "variant/s1", role="refiner")
    safety, _ = usage_by_role(store, "demo")
    assert (safety.role, safety.calls, safety.reused, safety.repairs) == ("critics.safety", 2, 0, 1)
    assert (safety.tokens_in, safety.tokens_out, safety.tokens_cached, safety.seconds) == (200, 40, 120, 3.0)
    assert (safety.outcomes, safety.cached_share) == ({"malformed": 1}, 0.6)
    (reused,) = usage_by_role(store, "variant")
    assert (reused.role, reused.calls, reused.reused, reused.tokens_in, reused.cached_share) == (
        "refiner",
        0,
        1,
        0,
        0.0,
    )


async def test_a_reply_that_nests_or_repeats_without_end_is_recorded(store: Store, sample: str) -> None:
    loop = "We should ask how it started. " * 5
    for turn, text in enumerate(('{"a":' * 100_000, f'{{"rationale": "{loop}", "more": "{loop * 3000}', "[" * 100_000)):
        made = call(attempt=turn + 1, reply=Reply(text=text))
        await record_call(store, made)
        assert await find(store, sample, attempt=turn + 1) == made.reply


async def test_prompts_that_quote_earlier_replies_take_next_to_no_room(store: Store, sample: str) -> None:
    query, answer, plan = "My hand hurts. " * 40, "Cool it with water. " * 90, "We should ask how it happened. " * 12
    shared = f"Instructions. Query:\n{query.strip()}\n\nAnswer:\n{answer.strip()}\n\n"

    def sent(text: str, tail: str, role: str, reply: str) -> Call:
        messages = (Message(role="system", content="You review."), Message(role="user", content=text + tail))
        return call(role=role, messages=messages, parameters={"seed": 1}, reply=Reply(text=reply))

    made = [
        sent("", "Write a query.", "persona", f" {query}\n"),
        sent("", query, "responder", answer),
        sent(shared, "Judge its safety.", "critics.safety", f'{{"rationale": "{plan}", "verdict": "revise"}}'),
        sent(shared, "Judge its tone.", "critics.communication", '{"rationale": [], "verdict": "pass"'),
        sent(shared, f"Rewrite it. Plans:\n{plan}\nNow.", "refiner", "Better."),
    ]
    for one in made:
        await record_call(store, one)
    assert [plain(one) for one in calls_of(store, sample)] == made
    stored = store.read("SELECT sum(length(body)) AS n FROM texts")[0]["n"]
    # Each of the three about twice: as a reply, and as it is quoted.
    assert stored < 2.3 * (len(query) + len(answer) + len(plan))


@pytest.mark.parametrize("sql", [ledger.OWN, ledger.OTHER, ledger.QUOTABLE, ledger.ALL, ledger.REUSED])
def test_what_is_asked_for_every_call_uses_an_index(store: Store, sql: str) -> None:
    named = {"sample": 1, "role": "r", "round": 1, "attempt": 1, "hash": b""}
    parameters = named if ":hash" in sql else (1,)
    plan = [row["detail"] for row in store.read(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    assert not [step for step in plan if step.startswith("SCAN") and "SUBQUERY" not in step], plan
