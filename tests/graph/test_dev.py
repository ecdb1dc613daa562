"""`langgraph dev` gets a graph that needs no context, no checkpointer and no store."""

import json
from collections.abc import Callable
from pathlib import Path

from muser.graph.dev import make_graph

ROOT = Path(__file__).parents[2]


async def test_the_graph_for_the_dev_server_answers_a_query_by_itself(
    simulate: Callable[..., str], tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    text = (ROOT / "recipes" / "quickstart.yaml").read_text().replace("http://127.0.0.1:8399/v1", simulate())
    recipe.write_text(text)
    async with make_graph({"configurable": {"recipe": str(recipe)}}) as graph:
        # The server passes an empty context of its own.
        state = await graph.ainvoke({"query": "My chest feels tight. What now?"}, context={})
    assert state["done"] is True
    assert len(state["critiques"]) == 3
    assert state["refinement"]["answer"]


def test_langgraph_json_names_the_factory_that_is_there() -> None:
    module, _, name = json.loads((ROOT / "langgraph.json").read_text())["graphs"]["muser"].partition(":")
    assert (module, name) == (make_graph.__module__, make_graph.__name__)
