"""The state machine on one page: every node and edge of the method.

    START → persona → respond → every critic in parallel → refine → END
                                 ↑___________________________|  (rounds > 1)

A sample that has a query starts at `respond`, one that has a response starts at the critics. Without critics
`respond` ends it: that is how the teacher's answers are made.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command

from ..agents.persona import simulate
from ..agents.refiner import refine as refine_answer
from ..agents.responder import respond as respond_to
from ..core.conversations import asked_text, in_conversation
from ..core.errors import EndpointTimeout
from ..core.types import Response
from ..prompts.attributes import AttributeTables
from ..prompts.sampling import draw_persona
from .state import (
    Context,
    State,
    bind,
    critiques_of_round,
    earlier_critiques,
    history_of,
    latest_answer,
    round_of,
)


class Node(Protocol):
    """An async function of a sample's state and the run's context."""

    def __call__(self, state: State, *, runtime: Runtime[Any]) -> Awaitable[Any]:
        """The change to the state, or a Command that also routes."""


Step = Callable[[State, Any], Awaitable[dict[str, Any]]]
"""(state, the run's context) → the change: a node for those who do not know LangGraph."""


async def persona(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """Persona → query. A run's samples have a persona; in `langgraph dev` one may have a part of it, or none."""
    context, told = runtime.context, state.get("persona") or {}
    drawn: State = {} if all(told.get(name) for name in context.tables.choices) else _draw(state, context.tables)
    ask = bind({**state, **drawn}, context.make_ask, "persona")
    given = drawn.get("persona") or told
    seed = drawn.get("seed", state.get("seed", 0))
    query = await simulate(given, context.tables, context.prompts.persona, ask, seed=seed, repairs=context.repairs)
    if context.screen:
        await context.screen("query", {**state, **drawn, "query": query})
    return {**drawn, "query": query}


def _draw(state: State, tables: AttributeTables) -> State:
    seed = state.get("seed", secrets.randbelow(2**31))
    told = {name: value for name, value in (state.get("persona") or {}).items() if value}
    return {"seed": seed, "persona": draw_persona(tables, seed) | told}


async def respond(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """Query → response; without critics, the end of the sample."""
    context = runtime.context
    # A sample that brought its response comes here only if there are no critics (`entry`).
    if state.get("response"):
        return {"done": not context.critics}
    messages = in_conversation(context.prompts.responder.render(query=state["query"]), history_of(state))
    response = await respond_to(messages, bind(state, context.make_ask, "responder"), context.repairs)
    return {"response": response.model_dump(), "done": not context.critics}


def critic(name: str) -> Node:
    """Query, answer → critique, by the critic of this name."""

    async def node(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        critics = runtime.context.critics
        # A fork already has the critiques that it does not repeat.
        if any(c.critic == name for c in critiques_of_round(state, critics)):
            return {}
        ask = bind(state, runtime.context.make_ask, f"critics.{name}")
        critique = await critics[name](_asked(state, runtime.context.tables), latest_answer(state), ask)
        return {"critiques": [critique.model_copy(update={"round": round_of(state)}).model_dump()]}

    return node


def _asked(state: State, tables: AttributeTables) -> str:
    return asked_text(history_of(state), state["query"], tables.language_of(state.get("persona")))


async def refine(state: State, runtime: Runtime[Context]) -> Command[str]:
    """Query, answer, critiques → refinement; then another round, or the end."""
    context, number = runtime.context, round_of(state)
    critiques = critiques_of_round(state, context.critics)
    # The node routes with a Command; the error of a conditional edge would be lost on resume.
    passed = all(c.verdict == "pass" for c in critiques)
    if context.refine_when == "never" or (context.refine_when == "any_revise" and passed):
        return Command(update={"done": True}, goto=END)
    ask = bind(state, context.make_ask, "refiner")
    refinement = await refine_answer(
        _asked(state, context.tables),
        latest_answer(state),
        critiques,
        earlier=earlier_critiques(state),
        first=Response(**state["response"]),
        prompts=context.prompts,
        ask=ask,
        repairs=context.repairs,
    )
    if number == context.rounds and context.screen:
        await context.screen("refinement", {**state, "refinement": refinement.model_dump()})
    if number < context.rounds:
        return Command(update={"refinement": refinement.model_dump(), "round": number + 1}, goto=list(context.critics))
    return Command(update={"refinement": refinement.model_dump(), "done": True}, goto=END)


def entry(critics: Sequence[str]) -> Callable[[State], str | list[str]]:
    """Where a sample starts, by what it has. Pure and total: an edge function's error would be lost on resume."""

    def first_node(state: State) -> str | list[str]:
        if state.get("response"):
            return list(critics) or "respond"
        return "respond" if state.get("query") else "persona"

    return first_node


def build_machine(
    critics: Sequence[str],
    timeouts: Mapping[str, float] | None = None,
    *,
    rounds: int = 1,
    context: Context | None = None,
    context_schema: type[Any] = Context,
    input_schema: type[Any] = State,
) -> StateGraph[State, Any]:
    """The graph, not yet compiled. `timeouts` bounds a node by its name, in seconds.

    With more than one of `rounds`, the refiner can return to the critics. `context` is bound to the nodes if the caller
    of the graph passes none, like `langgraph dev`, which also shows the schemas as forms.
    """
    graph: StateGraph[State, Any] = StateGraph(State, context_schema=context_schema, input_schema=input_schema)

    def add(name: str, node: Node, **more: Any) -> None:
        bound = with_context(node, context) if context else node
        graph.add_node(name, bounded(bound, (timeouts or {}).get(name)), **more)

    add("persona", persona)
    add("respond", respond)
    graph.add_conditional_edges(START, entry(critics), ["persona", *(critics or []), "respond"])
    graph.add_edge("persona", "respond")
    if not critics:
        graph.add_edge("respond", END)
        return graph
    for name in critics:
        add(name, critic(name))
        graph.add_edge("respond", name)
        # One channel triggers `refine`, whichever critic writes to it (branch:to:refine in langgraph/graph/state.py).
        # All critics run in one superstep, so the refiner runs once, with every critique, and needs no defer=True.
        graph.add_edge(name, "refine")
    # `destinations` is for drawings: LangGraph cannot tell from the node where its Command may lead.
    add("refine", refine, destinations=(*(critics if rounds > 1 else ()), END))
    return graph


def bounded(node: Node, seconds: float | None) -> Node:
    """The node with a timeout, restarted once if it hangs. The endpoint's client retries failed requests.

    LangGraph's own timeouts and retries start extra tasks for each node, which cost more than the node itself.
    """

    async def act(state: State, runtime: Runtime[Any]) -> Any:
        watch = asyncio.timeout(seconds)
        try:
            async with watch:
                return await node(state, runtime=runtime)
        except TimeoutError:
            # A TimeoutError of the node's own code, such as an imported critic's, is not the node's timeout.
            if not watch.expired():
                raise
        try:
            async with asyncio.timeout(seconds):
                return await node(state, runtime=runtime)
        except TimeoutError as error:
            raise EndpointTimeout(
                f"the node did not finish within {seconds:g} s, twice",
                todo="raise the model's timeout, or lower concurrency",
            ) from error

    return act


def with_context(node: Node, context: Context) -> Node:
    """The node with its context bound."""

    async def bound(state: State, runtime: Runtime[Any]) -> Any:
        return await node(state, runtime=runtime.override(context=context))

    return bound


def build_line(steps: Mapping[str, Step], timeouts: Mapping[str, float] | None = None) -> StateGraph[State, Any]:
    """A graph of named steps in sequence, for work without critics, such as grading."""
    graph: StateGraph[State, Any] = StateGraph(State, context_schema=object)
    before = START
    for name, step in steps.items():
        graph.add_node(name, bounded(_node(step), (timeouts or {}).get(name)))
        graph.add_edge(before, name)
        before = name
    graph.add_edge(before, END)
    return graph


def _node(step: Step) -> Node:
    async def node(state: State, runtime: Runtime[Any]) -> dict[str, Any]:
        return await step(state, runtime.context)

    return node
