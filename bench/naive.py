"""The baseline: the same graph written as in LangGraph's documentation, with ChatOpenAI and AsyncSqliteSaver.

persona → respond → three critics → refine, with `durability="sync"` and no ledger of calls.
"""

import asyncio
import json
import operator
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langchain_openai import ChatOpenAI
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph

CRITICS = ("decision", "communication", "safety")
SCHEMA = {
    "title": "critique",
    "type": "object",
    "properties": {"rationale": {"type": "string"}, "verdict": {"enum": ["pass", "revise"]}},
    "required": ["rationale", "verdict"],
}


class State(TypedDict, total=False):
    persona: str
    query: str
    answer: str
    critiques: Annotated[list[dict[str, Any]], operator.add]
    refined: str


def build(base_url: str) -> StateGraph[State]:
    model = ChatOpenAI(model="fast", base_url=base_url, api_key="none", timeout=60)
    judge = model.bind(response_format={"type": "json_schema", "json_schema": {"name": "critique", "schema": SCHEMA}})

    async def persona(state: State) -> State:
        return {"query": str((await model.ainvoke(f"Write the query of {state['persona']}. " * 40)).content)}

    async def respond(state: State) -> State:
        return {"answer": str((await model.ainvoke(state["query"])).content)}

    def critic(name: str) -> Any:
        async def node(state: State) -> State:
            reply = await judge.ainvoke(
                f"{state['query']}\n{state['answer']}\nJudge the {name}. " + "Be careful. " * 100
            )
            return {"critiques": [json.loads(str(reply.content))]}

        return node

    async def refine(state: State) -> State:
        reply = await model.ainvoke(f"{state['query']}\n{state['answer']}\n{state['critiques']}\nRewrite.")
        return {"refined": str(reply.content)}

    graph = StateGraph(State)
    graph.add_node("persona", persona)
    graph.add_node("respond", respond)
    graph.add_node("refine", refine)
    graph.add_edge(START, "persona")
    graph.add_edge("persona", "respond")
    for name in CRITICS:
        graph.add_node(name, critic(name))
        graph.add_edge("respond", name)
        graph.add_edge(name, "refine")
    graph.add_edge("refine", END)
    return graph


async def run(base_url: str, path: Path, samples: int, in_flight: int) -> None:
    """Takes samples through the graph, `in_flight` at a time."""
    # LangGraph's max_concurrency limits the nodes of one thread, not the number of threads.
    limit = asyncio.Semaphore(in_flight)
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        app = build(base_url).compile(checkpointer=saver)

        async def one(number: int) -> None:
            async with limit:
                given: Any = {"persona": f"patient {number}"}
                config: Any = {"configurable": {"thread_id": f"naive/{number}"}}
                await app.ainvoke(given, config, durability="sync")

        await asyncio.gather(*(one(number) for number in range(samples)))
