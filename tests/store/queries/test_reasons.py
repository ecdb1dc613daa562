"""Why a sample turned out the way it did: one sentence for every way a sample can end, and the evidence."""

from collections.abc import Sequence
from typing import Any

import pytest

from muser.core.breakage import Broken
from muser.core.errors import CriticError, EndpointRefused, EndpointTimeout, ReplyError
from muser.core.types import Message, Outcome, Reply, RubricItem, SampleInput, Verdict
from muser.store.file.database import Store
from muser.store.queries.reasons import Reason, explain
from muser.store.records.history import prune
from muser.store.records.ledger import Call, find_call, record_call
from muser.store.records.runs import Run, create_run
from muser.store.records.samples import add_samples, record_sample, retry_samples, take_pending
from muser.store.records.workers import at_work

ANSWER = "Cool the burn under running water for twenty minutes. Then rest at home and wait."
REFINED = "Cool the burn under running water for twenty minutes. Then see a doctor today."
SAMPLE = "demo/s1"


@pytest.fixture
def ready(store: Store, run: Run) -> Store:
    """A run whose first sample is running."""
    add_samples(store, "demo", [SampleInput(key="s1"), SampleInput(key="s2")], 1)
    store.write_now(lambda db: db.execute("UPDATE samples SET status = 'running' WHERE key = 's1'"))
    return store


async def call(
    store: Store, role: str, text: str, outcome: Outcome = "ok", attempt: int = 1, sample: str = SAMPLE
) -> None:
    reply = Reply(text=text, finish_reason="length" if outcome == "truncated" else "stop")
    message = Message(role="user", content=role)
    await record_call(
        store,
        Call(
            sample_id=sample, role=role, attempt=attempt, request_hash=f"{attempt:064x}", model="m",
            messages=(message,), parameters={}, reply=reply, outcome=outcome,
        ),
    )  # fmt: skip


def state(*verdicts: Sequence[Verdict], refined: str = REFINED) -> dict[str, Any]:
    critiques = [
        {"critic": critic, "verdict": verdict, "round": number, "rationale": f"We should ask {critic}. It is unclear."}
        for number, said in enumerate(verdicts, 1)
        for critic, verdict in zip(("decision", "safety"), said, strict=True)
    ]
    return {
        "query": "I burnt my hand",
        "response": {"reasoning": "", "answer": ANSWER},
        "critiques": critiques,
        "refinement": {"reasoning": "", "answer": refined} if refined else None,
        "round": len(verdicts),
    }


async def ended(store: Store, state: dict[str, Any], **how: Any) -> Reason:
    await record_sample(store, SAMPLE, state=state, **{"status": "done"} | how)
    return explain(store, SAMPLE)


def refine_when(store: Store, value: str) -> None:
    identity = f'{{"refine_when": "{value}"}}'
    store.write_now(lambda db: db.execute("UPDATE runs SET identity = ?", (identity,)))


async def test_a_refined_sample_names_the_critic_its_sentence_and_what_was_changed(ready: Store) -> None:
    await call(ready, "responder", ANSWER)
    await call(ready, "critics.safety", "…", "malformed")
    await call(ready, "critics.safety", "{}", attempt=2)
    await call(ready, "refiner", REFINED)
    reason = await ended(ready, state(["pass", "revise"]))
    assert reason.answer == ("Refined: safety asked for a revision, decision passed it. 10 of 15 words kept, 4 added.")
    said = [(shown.what, shown.quote, shown.call) for shown in reason.evidence]
    assert said == [
        ("critic safety, revise", "We should ask safety.", 3),
        ("refiner removed", "rest at home and wait.", 4),
        ("refiner added", "see a doctor today.", 4),
    ]
    assert reason.facts == ("repaired replies: critics.safety 1 ×",)


@pytest.mark.parametrize(
    ("verdicts", "refined", "when", "answer"),
    [
        ([["revise", "revise"]], REFINED, "always", "Refined: every critic asked for a revision. 10 of"),
        ([["revise", "pass"]], ANSWER, "always", "The refiner left the text unchanged."),
        (
            [["pass", "pass"]],
            REFINED,
            "always",
            "Refined although every critic passed the response (refine_when: always).",
        ),
        ([["pass", "pass"]], "", "any_revise", "Not refined: every critic passed the response"),
        (
            [["revise", "pass"], ["pass", "pass"]],
            REFINED,
            "any_revise",
            "until every critic passed the response, in round 2.",
        ),
        ([["revise", "pass"], ["pass", "revise"]], REFINED, "any_revise", "decision passed it (still in round 2)."),
        ([], "", "always", "The response is the final answer: the recipe has no critics."),
    ],
)
async def test_a_finished_sample_says_how_it_came_to_its_end(
    ready: Store, verdicts: list[list[Verdict]], refined: str, when: str, answer: str
) -> None:
    refine_when(ready, when)
    assert answer in (await ended(ready, state(*verdicts, refined=refined))).answer


async def test_a_sample_whose_replies_were_unusable_shows_each_of_them(ready: Store) -> None:
    await call(ready, "responder", ANSWER)
    for attempt in (1, 2, 3):
        await call(ready, "critics.safety", f'{{"verdict": {attempt}', "malformed", attempt)
    cause = ReplyError("malformed after 3 attempts", outcome="malformed", where="model m", todo="raise repairs")
    reason = await ended(ready, state(), status="failed", cause=cause, failed_node="safety")
    assert reason.answer == "Failed at safety: no usable reply from critics.safety (malformed after 2 repairs)."
    assert [shown.call for shown in reason.evidence] == [2, 3, 4, None, None]
    assert reason.evidence[0].what == "critics.safety, attempt 1: malformed, finish reason stop"
    assert reason.evidence[0].quote == '{"verdict": 1'
    assert reason.evidence[0].broken == Broken(before='{"verdict": 1', after="")
    assert reason.evidence[-1].what == "try:   raise repairs"


@pytest.mark.parametrize(
    ("outcome", "answer"),
    [
        ("truncated", "responder (truncated, no repair allowed)."),
        (
            "refusal",
            "responder (refusal: the server's content filter stopped it, and refusals are not retried).",
        ),
    ],
)
async def test_a_single_unusable_reply_says_why_it_was_not_repaired(
    ready: Store, outcome: Outcome, answer: str
) -> None:
    await call(ready, "responder", "Cool the", outcome)
    cause = ReplyError("unusable", outcome=outcome)
    reason = await ended(ready, {}, status="failed", cause=cause, failed_node="respond")
    assert reason.answer == f"Failed at respond: no usable reply from {answer}"


async def test_a_request_that_failed_is_told_from_an_unusable_reply(ready: Store) -> None:
    cause = EndpointRefused("the server refused: 404", where="model m", todo="see the name")
    reason = await ended(ready, {}, status="failed", cause=cause, failed_node="refine")
    assert reason.answer == "Failed at refine: EndpointRefused: the server refused: 404"
    assert reason.evidence[0].what == "no reply from refiner: the request failed"


async def test_replies_that_were_repaired_are_not_to_blame(ready: Store) -> None:
    await call(ready, "refiner", "", "empty")
    await call(ready, "refiner", REFINED, attempt=2)
    cause = EndpointTimeout("no response within 600 s")
    reason = await ended(ready, {}, status="failed", cause=cause, failed_node="refine")
    assert [shown.what for shown in reason.evidence] == ["no reply from refiner: the request failed"]


async def test_a_critic_that_raised_is_told_in_its_own_words(ready: Store) -> None:
    cause = CriticError("the critic raised KeyError: 'x'", where="critics.own")
    reason = await ended(ready, {}, status="failed", cause=cause, failed_node="own")
    assert reason.answer == "Failed at own: CriticError: the critic raised KeyError: 'x'"
    assert [shown.what for shown in reason.evidence] == ["where: critics.own"]


async def test_a_score_says_which_criteria_cost_most_and_a_failed_judge_that_there_is_none(ready: Store) -> None:
    grades = [
        {"item": 1, "points": 5, "met": True, "explanation": "It is said."},
        {"item": 2, "points": 3, "met": False, "explanation": "It is not said."},
        {"item": 3, "points": -2, "met": True, "explanation": "It is wrong."},
        {"item": 4, "points": -1, "met": False, "explanation": "Rightly so."},
    ]
    reason = await ended(ready, {"grades": grades, "score": 0.375})
    assert reason.answer == "Scored 0.375: 3 of 8 points."
    assert [shown.quote for shown in reason.evidence] == ["It is not said.", "It is wrong."]
    grades[1] |= {"met": None}
    reason = await ended(ready, {"grades": grades, "score": None})
    assert reason.answer == "No score: the judge failed on 1 of 4 criteria."
    assert reason.evidence[0].what == "criterion 2, +3 points: the judge failed"


async def test_a_grade_is_explained_with_its_criterion_and_axis(ready: Store) -> None:
    rubric = (RubricItem(criterion="Asks since when.", points=5, tags=("axis:context_awareness",)),)
    add_samples(ready, "demo", [SampleInput(key="graded", query="?", rubric=rubric)], 1)
    state = {"grades": [{"item": 0, "points": 5, "met": False, "explanation": "It does not ask."}], "score": 0.0}
    await record_sample(ready, "demo/graded", status="done", state=state)
    shown = explain(ready, "demo/graded").evidence[0]
    assert shown.what == "criterion 0 (“Asks since when.”), context awareness, +5 points: not met"
    assert shown.quote == "It does not ask."


async def test_a_sample_at_work_names_its_process_and_one_that_was_killed_says_so(ready: Store) -> None:
    assert "was killed" in explain(ready, SAMPLE).answer
    with at_work(ready, "demo") as worker:
        await take_pending(ready, "demo", 1, worker)
        await call(ready, "responder", ANSWER, sample="demo/s2")
        reason = explain(ready, "demo/s2")
        assert reason.answer.startswith("Running in process ")
        assert reason.evidence[0].what == "calls so far: 1; last call: responder, ok"


async def test_a_waiting_sample_says_for_what(ready: Store) -> None:
    assert explain(ready, "demo/s2").answer.startswith("Pending, not started yet")
    with at_work(ready, "demo"):
        assert explain(ready, "demo/s2").answer == "Pending, not started yet: the run is in progress."
    assert "the run was stopped" in explain(ready, "demo/s2").answer
    limits = "name: demo\nlimits: {tokens: 10}\n"
    ready.write_now(lambda db: db.execute("UPDATE runs SET recipe = ?", (limits,)))
    assert "its limit is 10" not in explain(ready, "demo/s2").answer
    ready.write_now(lambda db: db.execute("INSERT INTO usage VALUES ('demo', 'r', 'ok', 1, 0, 0, 9, 3, 0, 1)"))
    assert "the run has used 12 tokens and its limit is 10" in explain(ready, "demo/s2").answer


async def test_tries_reused_calls_and_a_dropped_history_are_facts(ready: Store, run: Run) -> None:
    await call(ready, "responder", "", "empty")
    await ended(ready, {}, status="failed", cause=ReplyError("empty", outcome="empty"), failed_node="respond")
    retry_samples(ready, "demo")
    assert explain(ready, SAMPLE).answer.startswith("Failed, now pending a retry")
    await call(ready, "responder", ANSWER)
    await ended(ready, state())
    prune(ready)
    facts = explain(ready, SAMPLE).facts
    assert facts[0] == "retried 1 ×; unusable replies of earlier attempts: 1"
    assert facts[1].startswith("its checkpoints were pruned on")
    fork = run.model_copy(update={"id": "fork", "parent": "demo", "node": "safety", "changes": ("repairs: 2 → 3",)})
    create_run(ready, fork)
    add_samples(ready, "fork", [SampleInput(key="s1", origin=SAMPLE)], 1)
    assert await find_call(ready, "fork/s1", "responder", 1, 1, f"{1:064x}")
    assert explain(ready, "fork/s1").facts == (
        "forked from demo/s1, rerun from safety: repairs: 2 → 3",
        "calls reused from demo: 1 of 1",
    )
