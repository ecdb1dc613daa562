"""The steps that run samples: the teacher's responses, and what critics and refiner make of them."""

from dataclasses import dataclass

from ..core.errors import MachineError
from ..core.recipe import Recipe
from ..graph.identity import difference
from ..graph.progress import Summary
from ..graph.run import Materials, describe_recipe, run_recipe
from ..store.file.database import Store
from ..store.queries.answers import answered
from ..store.queries.tallies import count_rows, tally_run
from ..store.records.artifacts import latest_artifact
from ..store.records.runs import Run, find_run, latest_run, list_runs, next_run_id
from .models import revisions_of
from .servers import serving
from .steps import StepState, Work

DISTILL, REFINE = "distill.run", "refine.run"


@dataclass(frozen=True)
class Planned:
    """A run that a step works on: what it would be opened as, and how many samples it shall have."""

    described: Run
    samples: int


def distill_recipe(recipe: Recipe) -> Recipe:
    """Queries and the teacher's responses: the recipe without its critics."""
    roles = recipe.roles.model_copy(update={"critics": {}})
    return recipe.model_copy(update={"name": f"{recipe.name}-distill", "critics": {}, "roles": roles})


def refine_recipe(recipe: Recipe) -> Recipe:
    """The recipe under the name of its run that starts from the teacher's responses."""
    return recipe.model_copy(update={"name": f"{recipe.name}-refine"})


def refine_roles(recipe: Recipe) -> list[str]:
    """The roles that are called where the response is there already."""
    return [*(f"critics.{name}" for name in recipe.critics), "refiner"]


def look_at_distill(work: Work) -> StepState:
    """Whether the teacher has answered every query."""
    recipe = distill_recipe(work.recipe)
    materials, revisions = Materials.load(recipe), revisions_of(recipe, work.store, recipe.call_roles())
    described = describe_recipe(recipe, materials, revisions=revisions)
    planned = Planned(described, recipe.samples + (materials.brought.count if materials.brought else 0))
    return look_at_run(work.store, DISTILL, planned)


async def run_distill(work: Work) -> None:
    """Simulates what is asked and lets the teacher answer."""
    recipe, listener, state = distill_recipe(work.recipe), work.listener, look_at_distill(work)
    async with serving(
        recipe,
        work.store,
        recipe.call_roles(),
        on_start=listener.on_serve,
        on_warning=listener.on_warning,
        stop=work.stop,
    ) as served:
        summary = await run_recipe(
            recipe,
            work.store,
            models=served.models,
            revisions=served.revisions,
            on_progress=listener.on_samples,
            retry=work.retry,
            stop=work.stop,
            run_id=state.result or None,
            new=state.state == "stale",
        )
    keep_summary(work, summary)


def look_at_refine(work: Work) -> StepState:
    """Whether every response of the teacher has been critiqued and refined."""
    recipe = refine_recipe(work.recipe)
    planned = Planned(
        describe_recipe(
            recipe,
            Materials.load(recipe, own_inputs=False),
            source=_source(work),
            roles=refine_roles(recipe),
            revisions=revisions_of(recipe, work.store, refine_roles(recipe)),
        ),
        count_rows(work.store, work.result(DISTILL), "distill"),
    )
    return look_at_run(work.store, REFINE, planned)


async def run_refine(work: Work) -> None:
    """Lets critics and refiner, as the recipe binds them, work on the teacher's responses."""
    recipe, roles, listener = refine_recipe(work.recipe), refine_roles(work.recipe), work.listener
    state = look_at_refine(work)
    async with serving(
        recipe, work.store, roles, on_start=listener.on_serve, on_warning=listener.on_warning, stop=work.stop
    ) as served:
        summary = await run_recipe(
            recipe,
            work.store,
            inputs=answered(work.store, work.result(DISTILL)),
            source=_source(work),
            roles=roles,
            models=served.models,
            revisions=served.revisions,
            on_progress=listener.on_samples,
            retry=work.retry,
            stop=work.stop,
            run_id=state.result or None,
            new=state.state == "stale",
        )
    keep_summary(work, summary)


def look_at_run(store: Store, step: str, planned: Planned) -> StepState:
    """The state of the run that has this identity, else what a new one will be called and why."""
    name, wanted = planned.described.name, planned.described.fingerprint
    inputs = wanted[:12]
    run = next((one for one in runs_named(store, name) if one.fingerprint == wanted), None)
    if run is None:
        before = latest_run(store, name)
        if before is None:
            return StepState(name=step, state="to do", inputs=inputs, note=f"{planned.samples:,} samples")
        changed = difference(before.identity, planned.described.identity)
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        note = f"a new run {next_run_id(store, name)}, since {changed[0]}{more}"
        return StepState(name=step, state="stale", inputs=inputs, note=note)
    tally = tally_run(store, run.id)
    unjudged = f", {tally.grades_failed:,} items without a verdict" if tally.grades_failed else ""
    missing = max(planned.samples, tally.samples) - tally.done - tally.failed
    failed = f", {tally.failed:,} failed" if tally.failed else ""
    note = f"{tally.done:,} samples done{failed}{unjudged}"
    state = StepState(name=step, state="done", result=run.id, inputs=inputs, note=note)
    state = state.model_copy(update={"failed": tally.failed, "unjudged": tally.grades_failed})
    if missing:
        return state.model_copy(update={"state": "unfinished", "note": f"{state.note}, {missing:,} to do"})
    return state if tally.done else state.model_copy(update={"state": "unfinished"})


def runs_named(store: Store, name: str) -> list[Run]:
    """Every run of a name, newest first."""
    found = (find_run(store, line.id) for line in list_runs(store) if line.name == name)
    return [run for run in found if run is not None]


def keep_summary(work: Work, summary: Summary) -> None:
    """Remembers how a run ended, for whoever stops here. Raises MachineError when nothing of it can be used."""
    work.summary = summary
    if summary.done or summary.pending:
        return
    first = f": {summary.failures[0].message}" if summary.failures else ""
    raise MachineError(
        f"every sample of {summary.run_id} failed, so there is nothing to go on with{first}",
        where=str(work.store.path),
        todo="mend the cause, then run the pipeline again with --retry",
    )


def _source(work: Work) -> str:
    """What the responses are: the digest of the rows that were exported of them."""
    rows = latest_artifact(work.store, "rows", work.result(DISTILL), "distill")
    return rows.digest if rows else ""
