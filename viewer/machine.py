"""The state machine of one sample, a row for each round: each node's state, time and tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..store.records.ledger import Call
from ..store.records.samples import Trace

NODES = {"persona": "persona", "responder": "respond", "refiner": "refine", "judge": "grade"}


@dataclass(frozen=True)
class Node:
    """A box. `target` is the id of its card; `state` done, pass, revise, failed, kept, skipped or waiting."""

    name: str
    target: str
    state: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Round:
    """A row of stages, left to right; the nodes of a stage run side by side."""

    number: int
    stages: tuple[tuple[Node, ...], ...]


def draw_machine(trace: Trace, calls: Sequence[Call], critics: Sequence[str]) -> tuple[Round, ...]:
    """A sample's rounds; `critics` in the recipe's order."""
    last = max([1, *(critique.round for critique in trace.critiques), *(call.round for call in calls)])
    rounds = []
    for number in range(1, last + 1):
        columns = _columns(trace, calls, critics, number)
        stages = tuple(tuple(_node(name, number, last, trace, calls) for name in column) for column in columns)
        rounds.append(Round(number, stages))
    return tuple(rounds)


def node_of(role: str) -> str:
    """The node that plays a role: a critic's is named after it."""
    return NODES.get(role) or role.removeprefix("critics.")


def _columns(trace: Trace, calls: Sequence[Call], critics: Sequence[str], number: int) -> list[Sequence[str]]:
    if trace.grades or any(call.role == "judge" for call in calls):
        return [["respond"], ["grade"]]
    review: list[Sequence[str]] = [critics, ["refine"]] if critics else []
    return review if number > 1 else [["persona"], ["respond"], *review]


def _node(name: str, number: int, last: int, trace: Trace, calls: Sequence[Call]) -> Node:
    own = [call for call in calls if node_of(call.role) == name and call.round == number]
    is_earlier = name not in NODES.values() and number < last
    return Node(name, f"{name}-{number}" if is_earlier else name, _state(name, number, last, trace, own), _lines(own))


def _lines(calls: Sequence[Call]) -> tuple[str, ...]:
    if not calls:
        return ()
    seconds = sum(call.reply.seconds for call in calls if call.reused_from is None)
    tokens = sum(call.reply.usage.tokens_in + call.reply.usage.tokens_out for call in calls)
    repairs = sum(call.attempt > 1 for call in calls)
    asked = f"{len(calls)} calls" if len(calls) > 1 else "1 call"
    return (
        f"{seconds:.1f} s · {tokens:,} tokens",
        asked + (f", {repairs} repair{'s' * (repairs > 1)}" if repairs else ""),
    )


def _state(name: str, number: int, last: int, trace: Trace, own: Sequence[Call]) -> str:
    if trace.failed_node == name and number == last:
        return "failed"
    verdicts = [c.verdict for c in trace.critiques if c.critic == name and c.round == number]
    if verdicts:
        return verdicts[-1] if own else f"{verdicts[-1]} kept"
    if own:
        return "done"
    if name == "refine" and number == last:
        return "skipped" if trace.status == "done" else "waiting"
    given = {"persona": trace.query, "respond": trace.response, "refine": trace.refinement}.get(name)
    return "waiting" if given is None else "kept"
