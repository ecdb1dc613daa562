import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from muser.core.errors import EndpointTimeout, InputError, ReplyError
from muser.core.types import (
    Critique,
    Grade,
    Message,
    Outcome,
    Persona,
    Refinement,
    Reply,
    Response,
    RubricItem,
    SampleInput,
)
from muser.store.file.database import Store
from muser.store.records.ledger import Call, calls_of, find_call, record_call, usage_by_role
from muser.store.records.runs import Run, create_run
from muser.store.records.samples import (
    CHUNK,
    Failure,
    add_samples,
    counts,
    failures,
    find_sample,
    get_trace,
    record_sample,
    retry_samples,
    take_pending,
)

PERSONA = Persona(
    identity="nurse",
    region="Peru",
    condition="burn",
    intent="first aid",
    vagueness="low",
    completeness="full",
    style="terse",
)
STATE: dict[str, Any] = {
    "persona": PERSONA,
    "query": "A burn?",
    "response": {"reasoning": "hot", "answer": "cool it"},
    "critiques": [
        {"critic": "safety", "verdict": "revise", "rationale": "We should ask how deep it is.", "round": 1},
        {"critic": "communication", "verdict": "pass", "rationale": "", "round": 1},
        {"critic": "safety", "verdict": "pass", "rationale": "Fine now.", "round": 2},
    ],
    "refinement": {"reasoning": "hot and deep", "answer": "cool it, and see someone"},
    "grades": [
        {"item": 1, "points": -3.0, "met": None, "explanation": ""},
        {"item": 0, "points": 5.0, "met": True, "explanation": "It asks."},
        {"item": 2, "points": 2.0, "met": False, "explanation": "No."},
    ],
    "score": 0.5,
    "round": 2,
}


@pytest.fixture
def sample(store: Store, run: Run) -> str:
    add_samples(store, run.id, [SampleInput(key="s1", persona=PERSONA)], 1)
    return "demo/s1"


def simulated(count: int) -> Iterator[SampleInput]:
    return (SampleInput(key=f"s{n:06d}", persona=PERSONA) for n in range(count))


def test_samples_are_added_once_and_keep_what_they_started_from(store: Store, run: Run) -> None:
    brought = SampleInput(key="q1", query="Why?", response=Response(reasoning="r", answer="a"), origin="other/q1")
    assert add_samples(store, run.id, [*simulated(2), brought], run_seed=7) == 3
    assert add_samples(store, run.id, [*simulated(5), brought], run_seed=7) == 3, "only what the run lacks"
    trace = get_trace(store, "demo/q1")
    assert (trace.query, trace.response, trace.origin, trace.persona) == ("Why?", brought.response, "other/q1", None)
    assert get_trace(store, "demo/s000000").persona == PERSONA


def test_a_samples_seed_depends_on_the_runs_seed_and_its_key_alone(store: Store, run: Run) -> None:
    for run_id, inputs, seed in (("a", simulated(3), 1), ("b", reversed([*simulated(3)]), 1), ("c", simulated(3), 2)):
        create_run(store, run.model_copy(update={"id": run_id}))
        add_samples(store, run_id, inputs, seed)
    seeds = {name: [get_trace(store, f"{name}/s{n:06d}").seed for n in range(3)] for name in "abc"}
    assert seeds["a"] == seeds["b"]
    assert not set(seeds["a"]) & set(seeds["c"])


def test_more_samples_than_a_transaction_takes_are_added_from_an_iterator(store: Store, run: Run) -> None:
    assert add_samples(store, run.id, simulated(2 * CHUNK + 1), 1) == 2 * CHUNK + 1
    assert counts(store, run.id) == {"pending": 2 * CHUNK + 1, "running": 0, "done": 0, "failed": 0, "rejected": 0}


async def test_pending_samples_are_claimed_in_order_and_by_one_only(store: Store, run: Run) -> None:
    add_samples(store, run.id, simulated(100), 1)
    first = await take_pending(store, run.id, 3)
    assert [trace.key for trace in first] == ["s000000", "s000001", "s000002"]
    assert {trace.status for trace in first} == {"running"}
    assert all(trace.started_at for trace in first)
    claims = await asyncio.gather(*(take_pending(store, run.id, 7) for _ in range(20)))
    taken = [trace.id for claim in claims for trace in claim]
    assert len(taken) == len(set(taken)) == 97
    assert await take_pending(store, run.id, 1) == []
    assert counts(store, run.id)["running"] == 100


CLAIM = """
import asyncio, sys
from muser.store.file.database import Store
from muser.store.records.samples import take_pending

async def main():
    with Store.open(sys.argv[1]) as store:
        while taken := await take_pending(store, "demo", 2):
            for trace in taken:
                print(trace.id)

asyncio.run(main())
"""


def test_processes_that_share_a_run_never_claim_the_same_sample(store: Store, run: Run, path: Path) -> None:
    add_samples(store, run.id, simulated(100), 1)
    command = [sys.executable, "-c", CLAIM, str(path)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    taken = [name for worker in workers for name in worker.communicate()[0].split()]
    assert len(taken) == 100
    assert len(set(taken)) == 100


def test_a_sample_keeps_the_rubric_that_it_is_graded_by(store: Store, run: Run) -> None:
    rubric = (
        RubricItem(criterion="Asks since when.", points=7, tags=("level:example", "axis:context_awareness")),
        RubricItem(criterion="Gives a dose unasked.", points=-8, tags=()),
    )
    repeats = [SampleInput(key=key, query="?", rubric=rubric) for key in ("a", "a:2")]
    assert add_samples(store, run.id, repeats, 1) == 2
    assert add_samples(store, run.id, repeats, 1) == 0
    trace = get_trace(store, "demo/a:2")
    assert trace.rubric == rubric
    assert trace.item_of(Grade(item=1, points=-8, met=True)) == rubric[1]
    assert store.read("SELECT count(*) AS n FROM texts WHERE body LIKE 'Asks%'")[0]["n"] == 1


async def test_a_finished_sample_comes_back_as_its_state_was(store: Store, run: Run, sample: str) -> None:
    await take_pending(store, run.id, 1)
    await record_sample(store, sample, status="done", state=STATE, checkpoint_id="1f0")
    trace = get_trace(store, sample)
    assert (trace.persona, trace.query) == (PERSONA, "A burn?")
    assert trace.response == Response(reasoning="hot", answer="cool it")
    assert trace.refinement == Refinement(reasoning="hot and deep", answer="cool it, and see someone")
    assert trace.critiques == tuple(Critique(**value) for value in STATE["critiques"])
    assert trace.grades == tuple(sorted((Grade(**value) for value in STATE["grades"]), key=lambda grade: grade.item))
    assert (trace.status, trace.score, trace.rounds, trace.checkpoint_id) == ("done", 0.5, 2, "1f0")
    assert (trace.cause_kind, trace.cause, trace.failed_node) == (None, None, None)
    assert trace.finished_at is not None
    assert trace.seconds is not None
    assert trace.seconds >= 0


async def test_recording_twice_is_recording_once(store: Store, run: Run, sample: str) -> None:
    await record_sample(store, sample, status="done", state=STATE, checkpoint_id="c")
    before = get_trace(store, sample)
    await record_sample(store, sample, status="done", state=STATE, checkpoint_id="c")
    assert get_trace(store, sample).model_copy(update={"finished_at": before.finished_at}) == before
    await record_sample(store, sample, status="done", state={"query": "other"})
    after = get_trace(store, sample)
    assert (after.query, after.critiques, after.grades, after.refinement) == ("other", (), (), None)


async def test_an_empty_text_is_not_a_missing_one(store: Store, sample: str) -> None:
    state = {"query": "", "response": {"reasoning": "", "answer": ""}, "refinement": {"reasoning": "", "answer": ""}}
    await record_sample(store, sample, status="done", state=state)
    trace = get_trace(store, sample)
    assert (trace.query, trace.response) == ("", Response(answer=""))
    assert trace.refinement == Refinement(reasoning="", answer="")


async def test_hostile_values_are_recorded(store: Store, run: Run) -> None:
    persona = PERSONA | {"region": "\ud800\0'; DROP TABLE samples; --"}
    add_samples(store, run.id, [SampleInput(key="s1", persona=persona)], 1)
    state = {"query": "\ud800\0", "response": {"answer": "\0", "reasoning": "\udfff"}}
    await record_sample(store, "demo/s1", status="failed", state=state, cause=ValueError("\ud800 in the cause"))
    trace = get_trace(store, "demo/s1")
    assert (trace.query, trace.response) == ("\ud800\0", Response(answer="\0", reasoning="\udfff"))
    assert trace.cause == "\ufffd in the cause"


async def test_what_failed_is_grouped_by_cause_and_node_with_an_example(store: Store, run: Run) -> None:
    add_samples(store, run.id, simulated(5), 1)
    causes = [
        (ReplyError("no JSON", outcome="malformed"), "safety"),
        (ReplyError("no JSON", outcome="malformed"), "safety"),
        (ReplyError("cut", outcome="truncated"), "respond"),
        (EndpointTimeout("no answer", todo="wait"), "respond"),
    ]
    for n, (cause, node) in enumerate(causes):
        await record_sample(store, f"demo/s{n:06d}", status="failed", state={}, cause=cause, failed_node=node)
    assert failures(store, run.id) == [
        Failure("ReplyError.malformed", "safety", 2, "demo/s000000", "no JSON"),
        Failure("EndpointTimeout", "respond", 1, "demo/s000003", "no answer\n  try:   wait"),
        Failure("ReplyError.truncated", "respond", 1, "demo/s000002", "cut"),
    ]


async def test_a_retried_sample_asks_again_only_where_it_had_no_reply_of_use(
    store: Store, run: Run, sample: str
) -> None:
    def call(role: str, attempt: int, outcome: Outcome) -> Call:
        return Call(
            sample_id=sample, role=role, attempt=attempt, request_hash=f"{attempt:064x}", model="m",
            messages=(Message(role="user", content="?"),), parameters={}, reply=Reply(text=outcome), outcome=outcome,
        )  # fmt: skip

    made = [
        call("responder", 1, "truncated"),
        call("responder", 2, "ok"),
        call("critics.safety", 1, "malformed"),
        call("critics.safety", 2, "malformed"),
    ]
    for one in made:
        await record_call(store, one)
    await record_sample(store, sample, status="failed", state={}, cause=ReplyError("x", outcome="malformed"))
    assert retry_samples(store, run.id) == 1
    trace = get_trace(store, sample)
    assert (trace.status, trace.tries, trace.cause) == ("pending", 1, None)
    found = [await find_call(store, sample, one.role, 1, one.attempt, one.request_hash) for one in made]
    assert [reply and reply.text for reply in found] == ["truncated", "ok", None, None]
    again = call("critics.safety", 1, "ok")
    await record_call(store, again)
    assert [one.superseded for one in calls_of(store, sample)] == [0, 0, 1, 1, 0]
    usage = {line.role: (line.calls, line.outcomes) for line in usage_by_role(store, run.id)}
    assert usage == {"responder": (2, {"truncated": 1}), "critics.safety": (3, {"malformed": 2})}, "they were paid for"


async def test_a_sample_may_be_retried_again_and_again(store: Store, run: Run, sample: str) -> None:
    messages = (Message(role="user", content="?"),)
    for turn in range(1, 4):
        reply = Reply(text=f"{turn}")
        await record_call(
            store,
            Call(sample_id=sample, role="refiner", request_hash="00" * 32, model="m", messages=messages, parameters={},
                 reply=reply, outcome="empty"),
        )  # fmt: skip
        assert await find_call(store, sample, "refiner", 1, 1, "00" * 32) == reply
        await record_sample(store, sample, status="failed", state={}, cause=ReplyError("x", outcome="empty"))
        assert retry_samples(store, run.id) == 1
        assert get_trace(store, sample).tries == turn
        assert await find_call(store, sample, "refiner", 1, 1, "00" * 32) is None
    assert [one.superseded for one in calls_of(store, sample)] == [1, 2, 3]


def test_a_sample_is_found_by_its_id_or_by_a_key_that_one_run_has(store: Store, run: Run, sample: str) -> None:
    assert find_sample(store, "demo/s1") == find_sample(store, "s1") == sample
    create_run(store, run.model_copy(update={"id": "demo-2"}))
    add_samples(store, "demo-2", [SampleInput(key="s1")], 1)
    with pytest.raises(InputError, match="Several runs") as caught:
        find_sample(store, "s1")
    assert "demo-2/s1, demo/s1" in caught.value.todo
    for unknown in ("s9", "demo/s9", "nowhere/s1", "", "/", "%", "'"):
        with pytest.raises(InputError, match="no sample"):
            find_sample(store, unknown)


async def test_a_sample_that_does_not_exist_is_an_input_error(store: Store, run: Run) -> None:
    with pytest.raises(InputError, match="no sample 'demo/s9'"):
        get_trace(store, "demo/s9")
    with pytest.raises(InputError):
        await record_sample(store, "demo/s9", status="done", state={})
