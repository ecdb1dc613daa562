"""The state machine of one sample as a picture: each node's position, state, time and tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..store.records.ledger import Call
from ..store.records.samples import Trace

WIDTH, HEIGHT, GAP, LANE = 150, 64, 46, 78
NODES = {"persona": "persona", "responder": "respond", "refiner": "refine", "judge": "grade"}


@dataclass(frozen=True)
class Node:
    """A box: position in pixels, its state (`done`, `pass`, `revise`, `failed`, `kept`, `waiting`) and two lines."""

    name: str
    x: int
    y: int
    state: str
    lines: tuple[str, str]


@dataclass(frozen=True)
class Picture:
    """Boxes and the arrows between them, as (x1, y1, x2, y2)."""

    nodes: tuple[Node, ...]
    arrows: tuple[tuple[int, int, int, int], ...]
    width: int
    height: int


def draw_machine(trace: Trace, calls: Sequence[Call], critics: Sequence[str]) -> Picture:
    """The picture of a sample's nodes; `critics` in the recipe's order."""
    if trace.grades or any(call.role == "judge" for call in calls):
        columns: list[list[str]] = [["respond"], ["grade"]]
    else:
        columns = [["persona"], ["respond"], list(critics), ["refine"]] if critics else [["persona"], ["respond"]]
    lanes = max(len(column) for column in columns)
    height = lanes * LANE
    nodes: list[list[Node]] = []
    for number, column in enumerate(columns):
        top = (height - len(column) * LANE) // 2 + (LANE - HEIGHT) // 2
        nodes.append(
            [_node(name, number * (WIDTH + GAP), top + row * LANE, trace, calls) for row, name in enumerate(column)]
        )
    arrows = tuple(
        (left.x + WIDTH, left.y + HEIGHT // 2, right.x - 6, right.y + HEIGHT // 2)
        for before, after in pairwise(nodes)
        for left in before
        for right in after
    )
    flat = tuple(node for column in nodes for node in column)
    return Picture(flat, arrows, len(columns) * (WIDTH + GAP) - GAP + 2, height)


def node_of(role: str) -> str:
    """The node that plays a role: a critic's is named after it."""
    return NODES.get(role) or role.removeprefix("critics.")


def _node(name: str, x: int, y: int, trace: Trace, calls: Sequence[Call]) -> Node:
    own = [call for call in calls if node_of(call.role) == name]
    seconds = sum(call.reply.seconds for call in own if call.reused_from is None)
    tokens = sum(call.reply.usage.tokens_in + call.reply.usage.tokens_out for call in own)
    repairs = sum(call.attempt > 1 for call in own)
    asked = f"{len(own)} calls" if len(own) > 1 else "1 call"
    lines = (
        (
            f"{seconds:.1f} s · {tokens:,} tokens",
            asked + (f", {repairs} repair{'s' * (repairs > 1)}" if repairs else ""),
        )
        if own
        else ("", "")
    )
    return Node(name, x, y, _state(name, trace, bool(own)), lines)


def _state(name: str, trace: Trace, was_asked: bool) -> str:
    if trace.failed_node == name:
        return "failed"
    verdicts = [critique.verdict for critique in trace.critiques if critique.critic == name]
    if verdicts:
        return verdicts[-1] if was_asked else f"{verdicts[-1]} kept"
    if was_asked:
        return "done"
    given = {"persona": trace.query, "respond": trace.response}.get(name)
    return "kept" if given is not None else "waiting"
