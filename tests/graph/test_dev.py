"""`langgraph dev` gets a graph that needs no context, no checkpointer and no store, that streams, and has forms."""

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver

from muser.graph.dev import make_graph
from muser.prompts.attributes import load_attributes

ROOT = Path(__file__).parents[2]
ASKED = {"query": "My chest feels tight. What now?"}
MODES = ["values", "updates", "messages", "custom", "tasks", "checkpoints", "debug"]


@pytest.fixture
def chosen(simulated: str, tmp_path: Path) -> Any:
    """The configuration that names a recipe of the simulated endpoint."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text((ROOT / "recipes" / "quickstart.yaml").read_text().replace("http://127.0.0.1:8399/v1", simulated))
    return {"configurable": {"recipe": str(recipe)}}


async def test_the_graph_for_the_dev_server_answers_a_query_by_itself(chosen: Any) -> None:
    async with make_graph(chosen) as graph:
        # The server passes an empty context of its own.
        state = await graph.ainvoke(ASKED, context={})
    assert state["done"] is True
    assert len(state["critiques"]) == 3
    assert state["refinement"]["answer"]


async def test_an_empty_input_draws_a_persona_and_one_in_part_the_rest(chosen: Any) -> None:
    async with make_graph(chosen) as graph:
        drawn = await graph.ainvoke({}, context={})
        given = await graph.ainvoke({"persona": {"region": "Peru", "style": ""}, "query": ""}, context={})
        again = await graph.ainvoke({}, context={})
    assert set(drawn["persona"]) == set(given["persona"]) == set(load_attributes("attributes.yaml", Path()).choices)
    assert all(given["persona"].values())
    assert given["persona"]["region"] == "Peru"
    assert drawn["query"]
    assert drawn["done"] is given["done"] is True
    assert drawn["seed"] != again["seed"], "each time another"


async def test_every_stream_mode_carries_the_whole_sample(chosen: Any) -> None:
    seen: dict[str, list[Any]] = {mode: [] for mode in MODES}
    async with make_graph(chosen) as bare:
        graph = bare.copy(update={"checkpointer": InMemorySaver()})
        thread = {"configurable": {"thread_id": "one"}}
        async for mode, chunk in graph.astream(ASKED, thread, context={}, stream_mode=MODES):
            seen[mode].append(chunk)
    nodes = ["respond", "decision", "communication", "safety", "refine"]
    assert seen["values"][-1]["done"] is True
    assert sorted(node for update in seen["updates"] for node in update) == sorted(nodes)
    assert sorted(where["langgraph_node"] for _, where in seen["messages"]) == sorted(nodes)
    said = {where["langgraph_node"]: message for message, where in seen["messages"]}
    assert all(isinstance(message, AIMessage) and message.usage_metadata for message in said.values())
    assert said["respond"].text == seen["values"][-1]["response"]["answer"]
    assert {task["name"] for task in seen["tasks"]} == set(nodes)
    assert seen["checkpoints"][-1]["values"]["done"] is True
    assert {chunk["type"] for chunk in seen["debug"]} >= {"checkpoint", "task", "task_result"}
    assert seen["custom"] == []


async def test_studio_can_show_forms_for_the_input_and_the_recipe(chosen: Any) -> None:
    async with make_graph(chosen) as graph:
        asked, context, state = (
            graph.get_input_jsonschema(),
            graph.get_context_jsonschema(),
            graph.get_output_jsonschema(),
        )
    assert set(asked["properties"]) == {"persona", "query", "response"}
    assert "required" not in asked
    assert context["properties"]["recipe"]["default"].endswith("quickstart.yaml")
    assert {"critiques", "refinement", "done"} <= set(state["properties"])


def test_langgraph_json_names_the_factory_that_is_there() -> None:
    module, _, name = json.loads((ROOT / "langgraph.json").read_text())["graphs"]["muser"].partition(":")
    assert (module, name) == (make_graph.__module__, make_graph.__name__)
