"""The drawn machine: a row for each round, the state of each node in it, and the card that each node leads to."""

from muser.core.types import Critique, Refinement, Reply, Response, Verdict
from muser.store.records.ledger import Call
from muser.store.records.samples import Trace
from muser.viewer.machine import Node, draw_machine

CRITICS = ["decision", "safety"]


def call(role: str, number: int = 1, attempt: int = 1) -> Call:
    given = {"sample_id": "run/s1", "request_hash": "", "model": "main", "messages": (), "parameters": {}}
    reply = Reply(text="text", seconds=1.5)
    return Call(role=role, round=number, attempt=attempt, reply=reply, outcome="ok", **given)


def critique(critic: str, verdict: Verdict, number: int) -> Critique:
    return Critique(critic=critic, verdict=verdict, rationale="I check.", round=number)


def nodes(trace: Trace, calls: list[Call]) -> list[dict[str, Node]]:
    rounds = draw_machine(trace, calls, CRITICS)
    return [{node.name: node for stage in one.stages for node in stage} for one in rounds]


def trace(**fields: object) -> Trace:
    given = {"id": "run/s1", "run_id": "run", "key": "s1", "seed": 1, "status": "done"}
    return Trace.model_validate(given | fields)


def test_each_round_is_a_row_with_its_own_verdicts() -> None:
    critiques = [critique("safety", "revise", 1), critique("safety", "pass", 2)]
    refinement = Refinement(reasoning="", answer="better")
    calls = [call("critics.safety", 1), call("critics.safety", 1, 2), call("refiner"), call("critics.safety", 2)]
    first, second = nodes(trace(critiques=critiques, refinement=refinement, rounds=2), calls)
    assert list(first) == ["persona", "respond", *CRITICS, "refine"]
    assert list(second) == [*CRITICS, "refine"]
    assert (first["safety"].state, second["safety"].state) == ("revise", "pass")
    assert first["safety"].lines == ("3.0 s · 0 tokens", "2 calls, 1 repair")
    assert (first["refine"].state, second["refine"].state) == ("done", "skipped")
    assert (first["safety"].target, second["safety"].target) == ("safety-1", "safety")


def test_what_failed_and_what_waits_for_it_are_told_apart() -> None:
    failed = trace(status="failed", failed_node="safety", query="Is it?", response=Response(reasoning="", answer="Yes"))
    (only,) = nodes(failed, [call("responder"), call("critics.safety")])
    states = {name: node.state for name, node in only.items()}
    assert states == {
        "persona": "kept",
        "respond": "done",
        "decision": "waiting",
        "safety": "failed",
        "refine": "waiting",
    }


def test_a_fork_shows_what_it_kept() -> None:
    critiques = [critique("safety", "pass", 1), critique("decision", "revise", 1)]
    (only,) = nodes(trace(critiques=critiques), [call("critics.safety"), call("refiner")])
    assert (only["decision"].state, only["safety"].state) == ("revise kept", "pass")


def test_an_evaluation_is_a_response_and_its_grades() -> None:
    (only,) = nodes(trace(), [call("responder"), call("judge")])
    assert {name: node.state for name, node in only.items()} == {"respond": "done", "grade": "done"}
