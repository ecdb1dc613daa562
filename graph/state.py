"""A sample's state (JSON values only, so checkpoints are portable) and the context its nodes receive."""

import operator
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

# LangGraph uses Pydantic to describe the state to Studio, and before Python 3.12 Pydantic rejects typing.TypedDict
# (https://docs.pydantic.dev/latest/errors/usage_errors/#typed-dict-version).
from typing_extensions import TypedDict

from ..core.types import Ask, Critic, Critique, Message
from ..prompts.attributes import AttributeTables
from ..prompts.templates import PromptSet
from ..store.records.samples import Trace


class State(TypedDict, total=False):
    """A sample in the graph. Only the last node sets `done`: a sample without it is unfinished."""

    sample: str
    seed: int
    draw: int
    persona: dict[str, str] | None
    history: list[dict[str, str]]
    query: str
    response: dict[str, str]
    # A reducer, because parallel critics write this key in one superstep; without one LangGraph raises
    # InvalidUpdateError (langgraph/channels/last_value.py).
    critiques: Annotated[list[dict[str, Any]], operator.add]
    refinement: dict[str, str] | None
    round: int
    grades: list[dict[str, Any]]
    score: float | None
    done: bool


AskFactory = Callable[[str, int, str, int], Ask]
"""(sample id, sample seed, role, round) → the function a node's agent calls its model with."""


@dataclass(frozen=True)
class Context:
    """What the nodes of one run share: the models, prompts and critics of its recipe."""

    make_ask: AskFactory
    prompts: PromptSet
    tables: AttributeTables
    critics: Mapping[str, Critic]
    refine_when: Literal["always", "any_revise", "never"] = "always"
    rounds: int = 1
    repairs: int = 2
    screen: Callable[[Literal["query", "refinement"], "State"], Awaitable[None]] | None = None


def initial_state(trace: Trace) -> State:
    """The state a sample starts from. What the trace already has decides which node runs first.

    A fork starts with the critiques it keeps and the previous rounds' refinement, a retried evaluation with the grades
    that have a verdict.
    """
    state: State = {"sample": trace.id, "seed": trace.seed, "round": max(trace.rounds, 1), "done": False}
    if trace.draw > 1:
        state["draw"] = trace.draw
    state["persona"] = trace.persona
    state["critiques"] = [critique.model_dump() for critique in trace.critiques]
    if trace.history:
        state["history"] = [message.model_dump() for message in trace.history]
    if trace.query is not None:
        state["query"] = trace.query
    if trace.response is not None:
        state["response"] = trace.response.model_dump()
    if trace.refinement is not None:
        state["refinement"] = trace.refinement.model_dump()
    if judged := [grade.model_dump() for grade in trace.grades if grade.met is not None]:
        state["grades"] = judged
    return state


def bind(state: State, make_ask: AskFactory, role: str) -> Ask:
    """The `Ask` for this sample, role and round. Under `langgraph dev` a sample has no id."""
    return make_ask(state.get("sample", ""), state.get("seed", 0), role, round_of(state))


def round_of(state: State) -> int:
    """The current round, counted from 1."""
    return state.get("round", 1)


def history_of(state: State) -> list[Message]:
    """The conversation before the query; empty if the query is its first message."""
    return [Message(**turn) for turn in state.get("history", ())]


def latest_answer(state: State) -> str:
    """The answer this round's critics judge: the latest refinement, or the response in round 1."""
    return (state.get("refinement") or state["response"])["answer"]


def critiques_of_round(state: State, order: Mapping[str, Critic]) -> list[Critique]:
    """This round's critiques, in the recipe's order (parallel critics finish in any order)."""
    arrived = {c["critic"]: Critique(**c) for c in state.get("critiques", []) if c["round"] == round_of(state)}
    return [arrived[name] for name in order if name in arrived]


def earlier_critiques(state: State) -> list[Critique]:
    """The critiques of all previous rounds."""
    return [Critique(**c) for c in state.get("critiques", []) if c["round"] < round_of(state)]
