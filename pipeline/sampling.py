"""The steps that run samples: one collects the teacher's responses, one critiques and refines them."""

from dataclasses import dataclass

from ..core.errors import MachineError
from ..core.recipe import Recipe, RoleSettings
from ..graph.identity import difference
from ..graph.inputs import Queries
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
    """The run that a step needs: its description and its number of samples."""

    described: Run
    samples: int


def distill_recipe(recipe: Recipe) -> Recipe:
    """The recipe of the teacher's responses: without critics, so a run ends after `respond`."""
    roles = recipe.roles.model_copy(update={"critics": {}})
    return recipe.model_copy(update={"name": f"{recipe.name}-distill", "critics": {}, "roles": roles})


def refine_recipe(recipe: Recipe) -> Recipe:
    """The recipe of the run that critiques and refines the teacher's responses.

    Where the recipe names no critic or refiner, the distilled student plays it (paper, section 3.2).
    """
    roles, changes = recipe.roles, dict[str, RoleSettings]()
    if recipe.training and len(recipe.models) == 1:
        student = RoleSettings(model=f"{recipe.training.model}@distill")
        changes = {role: student for role in ("critic", "refiner") if getattr(roles, role) is None}
    return recipe.model_copy(update={"name": f"{recipe.name}-refine", "roles": roles.model_copy(update=changes)})


def refine_roles(recipe: Recipe) -> list[str]:
    """The roles called for samples that already have a response."""
    return [*(f"critics.{name}" for name in recipe.critics), "refiner"]


def distill_roles(recipe: Recipe, brought: Queries | None) -> list[str] | None:
    """Empty if the query file brings every response, so that no model is called; else None, for the recipe's own."""
    answered = not recipe.samples and brought is not None and all(given.response for given in brought)
    return [] if answered else None


def look_at_distill(work: Work) -> StepState:
    """Whether the teacher has answered every query."""
    recipe = distill_recipe(work.recipe)
    materials = Materials.load(recipe)
    roles = distill_roles(recipe, materials.brought)
    revisions = revisions_of(recipe, work.store, recipe.call_roles() if roles is None else roles)
    described = describe_recipe(recipe, materials, roles=roles, revisions=revisions)
    planned = Planned(described, recipe.samples + (materials.brought.count if materials.brought else 0))
    return look_at_run(work.store, DISTILL, planned)


async def run_distill(work: Work) -> None:
    """Simulates queries and collects the teacher's responses."""
    recipe, listener, state = distill_recipe(work.recipe), work.listener, look_at_distill(work)
    roles = distill_roles(recipe, Materials.load(recipe).brought)
    async with serving(
        recipe,
        work.store,
        recipe.call_roles() if roles is None else roles,
        on_start=listener.on_serve,
        on_warning=listener.on_warning,
        stop=work.stop,
    ) as served:
        summary = await run_recipe(
            recipe,
            work.store,
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
    """Runs the recipe's critics and refiner on the teacher's responses."""
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
    """The state of the run with this identity; without one, the name of the new run and the reason for it."""
    name, wanted = planned.described.name, planned.described.fingerprint
    inputs = wanted[:12]
    run = next((one for one in runs_named(store, name) if one.fingerprint == wanted), None)
    if run is None:
        before = latest_run(store, name)
        if before is None:
            return StepState(name=step, state="to do", inputs=inputs, note=f"{planned.samples:,} samples")
        changed = difference(before.identity, planned.described.identity)
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        note = f"a new run {next_run_id(store, name)}, because {changed[0]}{more}"
        return StepState(name=step, state="stale", inputs=inputs, note=note)
    tally = tally_run(store, run.id)
    unjudged = f", {tally.grades_failed:,} items without a verdict" if tally.grades_failed else ""
    # A run keeps the samples that it has: a recipe with fewer `samples` than before does not drop any.
    missing = max(planned.samples, tally.samples) - tally.done - tally.failed
    failed = f", {tally.failed:,} failed" if tally.failed else ""
    note = f"{tally.done:,} samples done{failed}{unjudged}"
    state = StepState(name=step, state="done", result=run.id, inputs=inputs, note=note)
    state = state.model_copy(update={"failed": tally.failed, "unjudged": tally.grades_failed})
    if missing:
        return state.model_copy(update={"state": "unfinished", "note": f"{state.note}, {missing:,} to do"})
    return state if tally.done else state.model_copy(update={"state": "unfinished"})


def runs_named(store: Store, name: str) -> list[Run]:
    """All runs with this name, newest first."""
    found = (find_run(store, line.id) for line in list_runs(store) if line.name == name)
    return [run for run in found if run is not None]


def keep_summary(work: Work, summary: Summary) -> None:
    """Stores a run's summary for the pipeline's result. Raises MachineError if every sample failed."""
    work.summary = summary
    if summary.done or summary.pending:
        return
    first = f": {summary.failures[0].message}" if summary.failures else ""
    raise MachineError(
        f"the pipeline cannot continue: every sample of {summary.run_id} failed{first}",
        where=str(work.store.path),
        todo="fix the cause, then rerun the pipeline with --retry",
    )


def _source(work: Work) -> str:
    """Identifies the responses: the digest of the rows exported from them."""
    rows = latest_artifact(work.store, "rows", work.result(DISTILL), "distill")
    return rows.digest if rows else ""
