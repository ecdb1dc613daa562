"""Commands of two-stage training: `pipeline` runs all steps, `train` trains one stage."""

from typing import TYPE_CHECKING, Annotated, Literal

from typer import Exit, Option

from ..loading import load_with
from ..options import Json, RecipeFile, RecipeStore, Set
from ..printing.console import command, print_json, say, stderr, stdout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from ...core.recipe import Recipe
    from ...pipeline.run import PipelineResult
    from ...pipeline.steps import Charts, StepState
    from ...store.file.database import Store


def pipeline(
    recipe: RecipeFile,
    plan: Annotated[bool, Option("--plan", help="Show what would be done, and do nothing.")] = False,
    retry: Annotated[bool, Option("--retry", help="Retry failed samples.")] = False,
    change: Set = None,
    store: RecipeStore = None,
    json: Json = False,
) -> None:
    """Train in two stages, from queries to scores.

    Queries → the teacher's responses → train distill → critiques and refinements → train refine → score base, distill
    and refine → report. Finished steps are skipped while their inputs are unchanged. Rerun the command to resume,
    also after a kill. If a step's inputs change, it and everything downstream are redone: existing runs are kept, and
    the new run gets a numbered name (-2).
    """
    from ...pipeline.run import plan as plan_steps
    from ...store.file.database import Store
    from ..loading import existing_store

    settings, words = load_with(recipe, change, store)
    if plan:
        with existing_store(settings) as opened:
            _print_plan(plan_steps(settings, opened), json)
        return
    with Store.open(settings.store) as opened:
        again = command("pipeline", recipe, *words)
        result = run_shown(settings, opened, retry=retry, again=again)
        if json:
            print_json(result.to_dict())
        else:
            print_result(result, settings.store, again)
    raise Exit(result_code(result))


def train(
    recipe: RecipeFile,
    stage: Annotated[
        Literal["distill", "refine"], Option(help="distill: train on the responses; refine: on the refinements.")
    ],
    run: Annotated[
        str | None, Option(metavar="RUN", help="Run to take the rows from; default: the pipeline's.")
    ] = None,
    rows: Annotated[str | None, Option(metavar="FILE", help="JSONL file of rows, instead of a run.")] = None,
    change: Set = None,
    store: RecipeStore = None,
    json: Json = False,
) -> None:
    """Train one stage on a run's rows. Rerun it to resume."""
    from pathlib import Path

    from ...store.file.database import Store
    from ...trainer.stages import run_training
    from ..printing.stages import shown_steps

    settings, _ = load_with(recipe, change, store, needs=("training",))
    # Training on rows of a file needs no earlier run, so the store may be created here.
    with Store.open(settings.store, create=rows is not None) as opened, shown_steps(stderr()) as listener:
        trained = run_training(
            settings,
            opened,
            stage,
            run_id=None if rows else run or _latest(opened, f"{settings.name}-{stage}", settings.name),
            rows=Path(rows) if rows else None,
            on_rows=lambda report: listener.on_rows(stage, report),
            on_memory=listener.on_memory,
            on_progress=listener.on_training,
            draw_loss=charts().draw_loss,
        )
    if json:
        print_json(trained.model_dump(mode="json"))
        return
    name = settings.training.model if settings.training else ""
    loss = f"loss {trained.loss_first:.3f} → {trained.loss_last:.3f}"
    if trained.held_out_loss_first is not None and trained.held_out_loss_last is not None:
        loss += f", held-out loss {trained.held_out_loss_first:.3f} → {trained.held_out_loss_last:.3f}"
    stdout().print(f"{name}@{stage}: {trained.rows:,} rows, {trained.steps:,} steps, {loss}", soft_wrap=True)
    stdout().print(str(trained.path), soft_wrap=True)


def run_shown(
    settings: "Recipe",
    store: "Store",
    *,
    again: str,
    retry: bool = False,
    opening: "Callable[[Recipe], AsyncIterator[Recipe]] | None" = None,
) -> "PipelineResult":
    """Runs the pipeline and shows every step on stderr; exits if a second signal stops it.

    `opening` yields the recipe to work with; what it opens before that stays open until the end.
    """
    import asyncio
    from contextlib import asynccontextmanager, nullcontext

    from ...pipeline.run import run_pipeline
    from ..interrupts import Stopped, run_stoppable
    from ..printing.stages import shown_steps
    from ..printing.summaries import Code

    try:
        with shown_steps(stderr()) as listener:

            async def work(stop: asyncio.Event) -> "PipelineResult":
                opened = asynccontextmanager(opening)(settings) if opening else nullcontext(settings)
                async with opened as recipe:
                    return await run_pipeline(
                        recipe, store, listener=listener, charts=charts(), retry=retry, command=again, stop=stop
                    )

            return run_stoppable(
                work, lambda: say("stopping after the work in flight; press Ctrl-C again to stop at once")
            )
    except Stopped:
        say(f"stopped at once; resume with: {again}")
        raise Exit(Code.INTERRUPTED) from None


def print_result(result: "PipelineResult", store: str, again: str) -> None:
    """The score table and the report's path, or the step it stopped at."""
    from ..printing.summaries import print_summary

    if result.stopped_at:
        say(f"stopped at {result.stopped_at}; resume with: {again}")
        if result.summary:
            print_summary(stdout(), result.summary, again, store)
        return
    from ..printing.scores import print_report

    print_report(stdout(), result)


def result_code(result: "PipelineResult") -> int:
    """The command's exit code."""
    from ..printing.summaries import Code, exit_code

    if result.stopped_at:
        return exit_code(result.summary) if result.summary else Code.INTERRUPTED
    return Code.FAILED_SAMPLES if any(step.failed or step.unjudged for step in result.steps) else Code.DONE


def charts() -> "Charts":
    """The viewer's charts, handed in because the pipeline must not import the viewer."""
    from ...pipeline.steps import Charts
    from ...viewer.charts import draw_loss, loss_curves, score_bars

    return Charts(draw_loss, loss_curves, score_bars)


def _print_plan(states: "Sequence[StepState]", json: bool) -> None:
    from ..printing.stages import step_line

    if json:
        print_json([state.model_dump(mode="json") for state in states])
        return
    for state in states:
        stdout().print(step_line(state), soft_wrap=True)


def _latest(store: "Store", *names: str) -> str:
    """The newest run of the first of these names that has one."""
    from ...core.errors import InputError
    from ...store.records.runs import latest_run

    for name in names:
        if found := latest_run(store, name):
            return found.id
    raise InputError(
        f"there is no run {' or '.join(names)} to train on", where=str(store.path), todo="name one with --run"
    )
