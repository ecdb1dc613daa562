"""A recipe's run from end to end: open it, add its samples, run them, and say how it ended."""

import asyncio
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

from ..agents.critics import imported_critic, prompted_critic
from ..core.hashing import digest
from ..core.recipe import ModelSettings, Recipe
from ..core.types import Critic, SampleInput
from ..prompts.attributes import AttributeTables, load_attributes
from ..prompts.templates import PromptSet, load_prompts
from ..store import samples
from ..store.database import Store
from .build import build_machine
from .calls import Calls, node_of
from .inputs import read_queries, simulated_inputs
from .opening import describe_run, open_run
from .progress import Summary
from .runner import Job, OnProgress, run_job
from .state import Context


async def run_recipe(
    recipe: Recipe,
    store: Store,
    *,
    inputs: Iterable[SampleInput] | None = None,
    models: Mapping[str, ModelSettings] | None = None,
    revisions: Mapping[str, str] | None = None,
    new: bool = False,
    run_id: str | None = None,
    retry: bool = False,
    on_progress: OnProgress | None = None,
    stop: asyncio.Event | None = None,
) -> Summary:
    """Runs what the recipe asks for and is not finished; `retry` takes the failed samples up again.

    The run is `run_id`, else the latest of the recipe's name, else a new one.

    `inputs` replaces the recipe's own (the pipeline hands on a stage's responses); `models` are the endpoints by the
    names that roles are bound to, `revisions` what tells two models of one name apart. Raises RunChanged.
    """
    prompts = load_prompts(recipe)
    tables = load_attributes(recipe.attributes, recipe.folder)
    brought = read_queries(recipe.folder / recipe.queries) if recipe.queries and inputs is None else []
    identity = recipe.identity() | {
        "texts": _texts(recipe, prompts, tables, brought),
        "revisions": dict(revisions or {}),
    }
    described = describe_run(recipe, identity, prompts.digests())
    run = await asyncio.to_thread(open_run, store, described, new=new, run_id=run_id)
    given = chain(simulated_inputs(recipe.samples, tables, recipe.seed), brought) if inputs is None else inputs
    await asyncio.to_thread(samples.add_samples, store, run.id, given, recipe.seed)
    if retry:
        await asyncio.to_thread(samples.reset_samples, store, run.id, "failed")
    job = Job(
        run=run,
        recipe=recipe,
        machine=build_machine(list(recipe.critics), node_timeouts(recipe, recipe.call_roles())),
        context=_context(recipe, prompts, tables),
        roles=tuple(recipe.call_roles()),
        models=models or recipe.models,
        revisions=revisions or {},
    )
    return await run_job(store, job, on_progress=on_progress, stop=stop)


def load_critics(recipe: Recipe, prompts: PromptSet) -> dict[str, Critic]:
    """The recipe's critics by name, in its order. Raises SettingsError where an import path leads nowhere."""
    return {
        name: imported_critic(name, settings.function)
        if settings.function
        else prompted_critic(name, prompts, recipe.repairs)
        for name, settings in recipe.critics.items()
    }


def node_timeouts(recipe: Recipe, roles: Iterable[str]) -> dict[str, float]:
    """Seconds a node may take as a whole: every attempt at twice its model's timeout, to leave room for retries."""
    return {node_of(role): 2 * recipe.models[recipe.role(role).name].timeout * (recipe.repairs + 1) for role in roles}


def _context(recipe: Recipe, prompts: PromptSet, tables: AttributeTables) -> Any:
    critics = load_critics(recipe, prompts)

    def context(calls: Calls) -> Context:
        return Context(
            asker=calls.asker,
            prompts=prompts,
            tables=tables,
            critics=critics,
            refine_when=recipe.refine_when,
            rounds=recipe.rounds,
            repairs=recipe.repairs,
        )

    return context


def _texts(recipe: Recipe, prompts: PromptSet, tables: AttributeTables, brought: list[SampleInput]) -> dict[str, str]:
    texts = {f"prompts.{name}": value for name, value in prompts.digests().items()}
    if recipe.samples:
        texts["attributes"] = tables.digest
    if brought:
        texts["queries"] = digest([value.model_dump(mode="json") for value in brought])
    return texts
