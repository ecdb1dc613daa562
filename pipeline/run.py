"""Runs the whole method step by step: skips finished steps, resumes unfinished ones, redoes stale ones."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..core.errors import SettingsError
from ..core.recipe import Recipe
from ..graph.progress import Summary
from ..store.file.database import Store
from ..store.records.artifacts import latest_artifact
from ..store.records.runs import latest_run
from . import sampling, scoring, training
from .models import trained_model
from .report.step import look_at_report, write_report
from .servers import StartStopped
from .steps import Charts, Listener, Step, StepState, Work

# In running order. A step starts once the steps that it needs are done.
STEPS = (
    Step("distill.run", (), sampling.look_at_distill, sampling.run_distill),
    Step("distill.train", ("distill.run",), training.look_at_training("distill"), training.train("distill")),
    Step("refine.run", ("distill.run", "distill.train"), sampling.look_at_refine, sampling.run_refine),
    Step(
        "refine.train", ("refine.run", "distill.train"), training.look_at_training("refine"), training.train("refine")
    ),
    Step("eval.base", (), scoring.look_at_scores("base"), scoring.score("base")),
    Step("eval.distill", ("distill.train",), scoring.look_at_scores("distill"), scoring.score("distill")),
    Step("eval.refine", ("refine.train",), scoring.look_at_scores("refine"), scoring.score("refine")),
    Step("report", (), look_at_report, write_report),
)


@dataclass(frozen=True)
class PipelineResult:
    """The state of every step. `stopped_at` names the step that did not finish; `summary` is that of its run."""

    steps: tuple[StepState, ...]
    stopped_at: str = ""
    summary: Summary | None = None
    report: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON values."""
        return {
            "steps": [step.model_dump(mode="json") for step in self.steps],
            "stopped_at": self.stopped_at,
            "summary": self.summary.to_dict() if self.summary else None,
            "report": str(self.report) if self.report else None,
        }


def plan(recipe: Recipe, store: Store) -> list[StepState]:
    """The state of every step, which shows what a run would do. Runs and serves nothing. Raises SettingsError."""
    work = Work(recipe, store)
    return [look(work, step) for step in steps_of(recipe)]


async def run_pipeline(
    recipe: Recipe,
    store: Store,
    *,
    listener: Listener | None = None,
    charts: Charts | None = None,
    retry: bool = False,
    command: str = "",
    stop: asyncio.Event | None = None,
) -> PipelineResult:
    """Run every step that is not done. `retry` also retries failed samples; the report shows `command`.

    `on_step` is called with each step's state before and, if the step ran, after it. Setting `stop` stops the current
    step so that a rerun resumes it. Raises every MuserError of its steps.
    """
    work = Work(recipe, store, command, listener or Listener(), charts, retry, stop or asyncio.Event())
    for step in steps_of(recipe):
        state = look(work, step)
        work.listener.on_step(state)
        if state.state != "done" or (retry and (state.failed or state.unjudged)):
            # So that a stop in this step does not show the summary of the step before it.
            work.summary = None
            # Stopped while a server was starting: nothing was called yet, and the step's state below says so.
            with suppress(StartStopped):
                await step.do(work)
            state = look(work, step)
            if state.state != "done" or work.stop.is_set():
                return PipelineResult(tuple(work.states.values()), step.name, work.summary)
            work.listener.on_step(state)
    return PipelineResult(tuple(work.states.values()), report=Path(work.result("report")))


def steps_of(recipe: Recipe) -> list[Step]:
    """The steps that a recipe asks for; the report needs all others. Raises SettingsError."""
    trained = recipe.training.stages if recipe.training else []
    missing = [key for key in ("training", "critics") if not getattr(recipe, key)]
    if trained == ["distill"]:
        missing = [key for key in missing if key != "critics"]
    if not recipe.samples and not recipe.queries:
        missing.append("samples or queries")
    if missing:
        raise SettingsError(f"a pipeline's recipe needs {' and '.join(missing)}", where=recipe.name)
    scored = [stage for stage in recipe.evaluation.stages if stage in ("base", *trained)] if recipe.evaluation else []
    wanted = {*trained, *(f"eval.{stage}" for stage in scored)}
    kept = [step for step in STEPS[:-1] if step.name in wanted or step.name.partition(".")[0] in wanted]
    return [*kept, replace(STEPS[-1], needs=tuple(step.name for step in kept))]


def look(work: Work, step: Step) -> StepState:
    """Find a step's state and keep it in `work`. A waiting step is "to do", or "stale" if it ran before."""
    waits = [name for name in step.needs if work.states[name].state != "done"]
    if waits:
        again = was_made(work, step.name)
        note = "again, " * again + f"after {waits[-1]}"
        state = StepState(name=step.name, state="stale" if again else "to do", note=note)
    else:
        state = step.look(work)
    work.states[step.name] = state
    return state


def was_made(work: Work, step: str) -> bool:
    """Whether the step ever produced a result, from any inputs."""
    recipe, store = work.recipe, work.store
    first, _, second = step.partition(".")
    if step == "report":
        return latest_artifact(store, "report", recipe.name) is not None
    if second == "train":
        return trained_model(recipe, store, "distill" if first == "distill" else "refine") is not None
    return (
        latest_run(store, f"{recipe.name}-eval-{second}" if first == "eval" else f"{recipe.name}-{first}") is not None
    )
