"""A store as a run leaves it: finished samples with calls and checkpoints, without asking any endpoint."""

from typing import TypedDict

from langgraph.graph import END, START, StateGraph

from muser.core.types import Message, Reply, SampleInput, Usage
from muser.store.file.database import Store
from muser.store.records.checkpoints import open_checkpointer
from muser.store.records.ledger import Call, record_call
from muser.store.records.samples import add_samples, record_sample, take_pending


class State(TypedDict, total=False):
    answer: str


def answer_of(key: str) -> str:
    return f"What {key} should do: " + " ".join(f"{key}-{n}" for n in range(300))


async def fill(store: Store, run_id: str, count: int, *, unfinished: int = 0) -> list[str]:
    """Samples s000 and on, with one call each; the last ones have steps and no end."""

    async def respond(state: State) -> State:
        return {"answer": state["answer"] + "!"}

    graph = StateGraph(State)
    graph.add_node("respond", respond)
    graph.add_edge(START, "respond")
    graph.add_edge("respond", END)
    keys = [f"s{n:03d}" for n in range(count + unfinished)]
    add_samples(store, run_id, (SampleInput(key=key, query=f"What should {key} do?") for key in keys), 1)
    await take_pending(store, run_id, len(keys))
    async with open_checkpointer(store) as saver:
        app = graph.compile(checkpointer=saver)
        for number, key in enumerate(keys):
            sample, said = f"{run_id}/{key}", answer_of(key)
            call = Call(
                sample_id=sample, role="responder", request_hash=f"{number:064x}", model="m",
                messages=(Message(role="user", content=f"What should {key} do?"),), parameters={"seed": number},
                reply=Reply(text=said, usage=Usage(tokens_in=5, tokens_out=7)), outcome="ok",
            )  # fmt: skip
            await record_call(store, call)
            await app.ainvoke({"answer": said}, {"configurable": {"thread_id": sample}}, durability="sync")
            if number < count:
                state = {"query": f"What should {key} do?", "response": {"reasoning": "", "answer": said}}
                await record_sample(store, sample, status="done", state=state)
    return [f"{run_id}/{key}" for key in keys]
