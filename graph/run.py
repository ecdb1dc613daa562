"""A recipe's run from end to end: open it, add its samples, run them, and summarize."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

from ..agents.critics import ImportedCritic, imported_critic, prompted_critic
from ..core.errors import RunChanged, SettingsError
from ..core.hashing import digest
from ..core.problems import Problem, raise_problems
from ..core.recipe import ModelSettings, Recipe
from ..core.types import Critic, SampleInput
from ..prompts.attributes import AttributeTables
from ..prompts.personas import load_tables
from ..prompts.sampling import draw_persona
from ..prompts.templates import PromptSet, load_prompts
from ..store.file.database import Store
from ..store.records.runs import Run
from ..store.records.samples import count_simulated
from .build import build_machine
from .calls import Calls, node_of
from .identity import describe_run, open_run
from .inputs import Queries, read_queries, redrawn_persona, simulated_input, simulated_inputs
from .progress import Summary
from .runner import Job, OnProgress, run_job
from .screening import Screening, Screens, code_of, load_recipe_screens
from .state import Context
from .top_up import top_up_run
from .worker_pool import run_worker_pool


@dataclass(frozen=True)
class Materials:
    """What a recipe's run needs besides its settings; `brought` are the queries of the recipe's file."""

    prompts: PromptSet
    critics: dict[str, Critic]
    tables: AttributeTables
    screens: Screens
    brought: Queries | None

    @classmethod
    def load(cls, recipe: Recipe, *, own_inputs: bool = True) -> "Materials":
        """Raises PromptError, SettingsError, InputError."""
        prompts, tables = load_prompts(recipe), load_tables(recipe)
        # A trial, so that a template that names an attribute the table lacks does not fail in the middle of a run.
        prompts.persona.render(**tables.for_prompt(draw_persona(tables, recipe.seed, 1), recipe.seed))
        return cls(
            prompts=prompts,
            critics=load_critics(recipe, prompts),
            tables=tables,
            screens=load_recipe_screens(recipe),
            brought=read_queries(recipe.folder / recipe.queries) if recipe.queries and own_inputs else None,
        )

    def digests(self) -> dict[str, str]:
        """Role → digest of its prompt file, or of the source of a critic that is a function."""
        return self.prompts.digests() | self.code()

    def code(self) -> dict[str, str]:
        """`critics.NAME` → digest of the source, for critics that are functions."""
        functions = ((name, one) for name, one in self.critics.items() if isinstance(one, ImportedCritic))
        return {f"critics.{name}": one.digest for name, one in functions}


async def run_recipe(
    recipe: Recipe,
    store: Store,
    *,
    inputs: Iterable[SampleInput] | None = None,
    source: str = "",
    roles: Sequence[str] | None = None,
    models: Mapping[str, ModelSettings] | None = None,
    revisions: Mapping[str, str] | None = None,
    new: bool = False,
    run_id: str | None = None,
    retry: bool = False,
    top_up: bool = False,
    workers: int | None = None,
    on_progress: OnProgress | None = None,
    stop: asyncio.Event | None = None,
) -> Summary:
    """Runs the recipe's unfinished samples; with `retry`, also the failed ones. `top_up` then adds what is short.

    The run is `run_id`, else the latest of the recipe's name, else a new one. `workers` is the number of processes that
    share it; they join any that already work on it.

    `inputs` replaces the recipe's own (the pipeline passes on a stage's responses), `source` is a digest that
    identifies them, and `roles` are the roles that still have to be called for such inputs. `models` are the endpoints
    by the names that roles are bound to; `revisions` distinguish models with the same name. Raises RunChanged, RunBusy.
    """
    if top_up and recipe.personas:
        raise SettingsError(
            f"--top-up fills what the attribute tables expect, and the personas come from {recipe.personas}"
        )
    materials = Materials.load(recipe, own_inputs=inputs is None)
    called = recipe.call_roles() if roles is None else roles
    described = describe_recipe(recipe, materials, source=source, roles=roles, revisions=revisions)
    run = await asyncio.to_thread(open_run, store, described, new=new, run_id=run_id)
    wanted = recipe.samples if inputs is None else 0
    if inputs is None:
        # Skipped on resume: drawing 100,000 personas takes longer than everything else before the first call.
        is_drawn = await asyncio.to_thread(count_simulated, store, run.id) >= recipe.samples
        inputs = materials.brought or () if is_drawn else _own_inputs(recipe, materials)
    job = build_job(recipe, run, materials, called, models or recipe.models, revisions or {})
    job = replace(job, inputs=inputs, retry=retry, join=workers is not None, simulated=wanted)

    async def run_all(job: Job) -> Summary:
        if workers is None or workers == 1:
            return await run_job(store, job, on_progress=on_progress, stop=stop)
        return await run_worker_pool(store, job, workers, on_progress=on_progress, stop=stop)

    summary = await run_all(job)
    if not top_up:
        return summary
    return await top_up_run(
        store, materials.tables, summary, lambda more: run_all(replace(job, inputs=more, retry=False))
    )


async def preview_recipe(recipe: Recipe, store: Store, *, count: int, **more: Any) -> Summary:
    """Runs the first samples of the recipe's run in a separate run: NAME-preview.

    They have the same keys and seeds and so send the same requests; the recipe's run later reuses their calls. A
    changed recipe gets a new preview beside the last one. `more` is passed to `run_recipe`.
    """
    materials = Materials.load(recipe)
    first = list(islice(_own_inputs(recipe, materials), count))
    source = materials.brought.digest if materials.brought else digest([])
    named = recipe.model_copy(update={"name": f"{recipe.name}-preview"})
    run = partial(run_recipe, named, store, inputs=first, source=source, roles=recipe.call_roles(), retry=True, **more)
    try:
        return await run()
    except RunChanged:
        return await run(new=True)


def _own_inputs(recipe: Recipe, materials: Materials) -> Iterator[SampleInput]:
    yield from simulated_inputs(recipe.samples, materials.tables, recipe.seed)
    yield from materials.brought or ()


def build_job(
    recipe: Recipe,
    run: Run,
    materials: Materials,
    roles: Sequence[str],
    models: Mapping[str, ModelSettings],
    revisions: Mapping[str, str],
) -> Job:
    """What `run_job` needs to finish a recipe's run."""
    return Job(
        run=run,
        recipe=recipe,
        machine=build_machine(list(recipe.critics), node_timeouts(recipe, roles), rounds=recipe.rounds),
        context=_context(recipe, materials),
        roles=tuple(roles),
        models=models,
        revisions=revisions,
        redraw=partial(redrawn_persona, recipe, materials.tables),
        replacement=partial(simulated_input, tables=materials.tables, seed=recipe.seed),
    )


def describe_recipe(
    recipe: Recipe,
    materials: Materials,
    *,
    source: str = "",
    roles: Sequence[str] | None = None,
    revisions: Mapping[str, str] | None = None,
) -> Run:
    """The run that `run_recipe` creates for these arguments. Its identity is everything that decides its samples."""
    called = recipe.call_roles() if roles is None else roles
    texts = dict(_texts(materials, called))
    if source:
        texts["inputs"] = source
    identity = recipe.identity(roles) | {"texts": texts, "revisions": dict(revisions or {})}
    return describe_run(recipe, identity, materials.digests(), materials.prompts.files(called))


def load_critics(recipe: Recipe, prompts: PromptSet) -> dict[str, Critic]:
    """The recipe's critics by name, in its order. Raises SettingsError with every function that cannot be one."""
    critics: dict[str, Critic] = {}
    problems = []
    for name, settings in recipe.critics.items():
        if not settings.function:
            critics[name] = prompted_critic(name, prompts, recipe.repairs)
            continue
        try:
            critics[name] = imported_critic(name, settings.function)
        except SettingsError as error:
            problems.append(Problem(f"recipe {recipe.name}", 0, f"critics.{name}.function", error.what))
    raise_problems(problems, f"recipe {recipe.name}")
    return critics


def node_timeouts(recipe: Recipe, roles: Iterable[str]) -> dict[str, float]:
    """Seconds a node may take in all: twice its model's timeout for each attempt, to leave room for retries."""
    return {node_of(role): 2 * recipe.models[recipe.role(role).name].timeout * (recipe.repairs + 1) for role in roles}


def _context(recipe: Recipe, materials: Materials) -> Any:
    def context(calls: Calls) -> Context:
        return Context(
            make_ask=calls.make_ask,
            prompts=materials.prompts,
            tables=materials.tables,
            critics=materials.critics,
            refine_when=recipe.refine_when,
            rounds=recipe.rounds,
            repairs=recipe.repairs,
            screen=Screening(
                calls.store, materials.screens, materials.tables, calls.make_ask, bool(recipe.roles.checker)
            ).screen,
        )

    return context


def _texts(materials: Materials, roles: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(name, digest) of every text that the called roles read."""
    digests, code = materials.prompts.digests(), materials.code()
    for role in roles:
        if role == "refiner" or role.startswith("critics."):
            yield "prompts.shared", digests["shared"]
        if role in digests:
            yield f"prompts.{role}", digests[role]
        if role in code:
            yield f"code.{role}", code[role]
    if "persona" in roles:
        yield "attributes", materials.tables.digest
    if sources := code_of(materials.screens):
        yield "screens", sources
    if materials.brought:
        yield "queries", materials.brought.digest
