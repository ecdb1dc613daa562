"""The machine for `langgraph dev`: without a checkpointer, because that server adds its own, and without the ledger."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from typing_extensions import TypedDict

from ..core.hashing import derive_seed
from ..core.loading import load_recipe
from ..core.recipe import Recipe
from ..core.types import Ask, Reply, Request
from ..endpoints.client.chat import open_endpoints
from .build import build_machine
from .run import Materials, load_critics
from .state import Context

RECIPE = Path(__file__).parent.parent / "recipes" / "quickstart.yaml"


@dataclass
class Choice:
    """The settings that Studio offers for a run."""

    recipe: str = str(RECIPE)


class ResponseForm(TypedDict, total=False):
    """A response that goes straight to the critics."""

    answer: str
    reasoning: str


class Start(TypedDict, total=False):
    """A sample's input: a response goes to the critics, a query to the responder; with neither, a persona is drawn.

    Attributes that `persona` lacks are drawn from the recipe's tables.
    """

    persona: dict[str, str]
    query: str
    response: ResponseForm


@asynccontextmanager
async def make_graph(config: RunnableConfig) -> AsyncIterator[Any]:
    """The graph of the context's recipe (a path), or of the quickstart recipe."""
    chosen = (config.get("configurable") or {}).get("recipe") or RECIPE
    # `langgraph dev` raises BlockingError for calls that block its event loop, such as reading a file.
    recipe, materials = await asyncio.to_thread(_load, Path(chosen))
    async with open_endpoints(recipe.models, langsmith=recipe.langsmith) as endpoints:

        def make_ask(_sample: str, seed: int, role: str, round: int) -> Ask:
            bound = recipe.role(role)

            async def ask(request: Request) -> Reply:
                seed_of_call = derive_seed(seed, role, round, request.attempt)
                return await endpoints[bound.model].complete(request, bound, seed_of_call)

            return ask

        context = Context(
            make_ask=make_ask,
            prompts=materials.prompts,
            tables=materials.tables,
            critics=load_critics(recipe, materials.prompts),
            refine_when=recipe.refine_when,
            rounds=recipe.rounds,
            repairs=recipe.repairs,
        )
        machine = build_machine(
            list(recipe.critics), rounds=recipe.rounds, context=context, context_schema=Choice, input_schema=Start
        )
        yield machine.compile(name=recipe.name)


def _load(path: Path) -> tuple[Recipe, Materials]:
    recipe = load_recipe(path)
    return recipe, Materials.load(recipe, own_inputs=False)
