"""The machine for `langgraph dev`: without a checkpointer, since that server brings its own, and without the ledger."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig

from ..core.hashing import derive_seed
from ..core.loading import load_recipe
from ..core.types import Ask, Reply, Request
from ..endpoints.chat import open_endpoints
from ..prompts.attributes import load_attributes
from ..prompts.templates import load_prompts
from .build import build_machine
from .run import load_critics
from .state import Context

RECIPE = Path(__file__).parent.parent / "recipes" / "quickstart.yaml"


@asynccontextmanager
async def make_graph(config: RunnableConfig) -> AsyncIterator[Any]:
    """The graph of `configurable.recipe` (a path), or of the quickstart recipe."""
    recipe = load_recipe(Path(config.get("configurable", {}).get("recipe", RECIPE)))
    prompts = load_prompts(recipe)
    async with open_endpoints(recipe.models) as endpoints:

        def asker(_sample: str, seed: int, role: str, round: int) -> Ask:
            bound = recipe.role(role)

            async def ask(request: Request) -> Reply:
                seed_of_call = derive_seed(seed, role, round, request.attempt)
                return await endpoints[bound.model].complete(request, bound, seed_of_call)

            return ask

        context = Context(
            asker=asker,
            prompts=prompts,
            tables=load_attributes(recipe.attributes, recipe.folder),
            critics=load_critics(recipe, prompts),
            refine_when=recipe.refine_when,
            rounds=recipe.rounds,
            repairs=recipe.repairs,
        )
        yield build_machine(list(recipe.critics), context=context, rounds=recipe.rounds).compile()
