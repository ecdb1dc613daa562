"""The training steps: each trains a stage on the rows of its run, starting from the previous model."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from ..core.errors import SettingsError
from ..core.packaged import base_path
from ..core.recipe import Recipe, TrainingSettings
from ..store.file.database import Store
from ..store.queries.tallies import count_rows
from ..store.records.artifacts import Artifact, latest_artifact
from ..trainer.result import TrainingProgress, folder_digest, folder_name, identity, training_inputs
from ..trainer.stages import run_training
from .models import trained_model
from .steps import StepState, Work

TrainedStage = Literal["distill", "refine"]


class Interrupted(Exception):
    """Raised inside a training to stop it at once; a rerun resumes from its last checkpoint."""


def look_at_training(stage: TrainedStage) -> Callable[[Work], StepState]:
    """Whether the stage's model was trained on these rows, from this model, with these settings."""

    def look(work: Work) -> StepState:
        recipe, store, run = work.recipe, work.store, work.result(f"{stage}.run")
        settings, start = _training(recipe), start_of(recipe, store, stage)
        model, rows = trained_model(recipe, store, stage), latest_artifact(store, "rows", run, stage)
        state = StepState(name=f"{stage}.train", state="to do", note=f"{count_rows(store, run, stage):,} rows")
        # Counting is cheap; a digest would need every row to be read.
        if rows is None or rows.meta.get("rows") != count_rows(store, run, stage):
            return state.model_copy(update={"state": "stale"}) if model else state
        if model and not (reason := _differs(model, settings, stage, start, rows)):
            note = f"{model.meta['rows']:,} rows, {model.meta['steps']:,} steps, loss {model.meta['loss_last']:.3f}"
            if model.meta["held_out"]:
                first, last = model.meta["held_out_loss_first"], model.meta["held_out_loss_last"]
                note += f", held-out loss {first:.3f} → {last:.3f}"
            return state.model_copy(
                update={"state": "done", "result": str(model.id), "inputs": rows.digest[:12], "note": note}
            )
        # The folder's name is a digest of everything that affects the weights, so its checkpoints fit these inputs.
        if _was_begun(recipe, settings, stage, start, rows):
            return state.model_copy(update={"state": "unfinished", "note": "resumes from its last checkpoint"})
        return state.model_copy(update={"state": "stale", "note": reason}) if model else state

    return look


def train(stage: TrainedStage) -> Callable[[Work], asyncio.Future[None]]:
    """Trains in a thread, so that the event loop still receives signals; a stop takes effect at the next step."""

    def act(work: Work) -> asyncio.Future[None]:
        def on_progress(progress: TrainingProgress) -> None:
            work.listener.on_training(progress)
            if work.stop.is_set():
                raise Interrupted

        def run() -> None:
            try:
                run_training(
                    work.recipe,
                    work.store,
                    stage,
                    run_id=work.result(f"{stage}.run"),
                    on_rows=lambda report: work.listener.on_rows(stage, report),
                    on_memory=work.listener.on_memory,
                    on_progress=on_progress,
                    draw_loss=work.charts.draw_loss if work.charts else None,
                )
            except Interrupted:
                return

        return asyncio.ensure_future(asyncio.to_thread(run))

    return act


def start_of(recipe: Recipe, store: Store, stage: TrainedStage) -> str:
    """The path or hub name that the stage starts from; empty if stage `distill` is not trained yet."""
    if stage == "distill":
        return base_path(recipe, _training(recipe).model)
    start = trained_model(recipe, store, "distill")
    return start.path if start else ""


def _training(recipe: Recipe) -> TrainingSettings:
    if recipe.training is None:
        raise SettingsError("the recipe has no training section", where=recipe.name, todo="add training: {model: NAME}")
    return recipe.training


def _differs(model: Artifact, settings: TrainingSettings, stage: TrainedStage, start: str, rows: Artifact) -> str:
    """Why the recorded model is stale; empty if it is up to date."""
    if model.meta.get("rows_digest") != rows.digest:
        return "its rows changed"
    if model.meta.get("settings") != identity(settings, stage):
        return "its settings changed"
    if model.meta.get("base") != start or _was_rewritten(model, start):
        return "the model that it starts from changed"
    return ""


def _was_rewritten(model: Artifact, start: str) -> bool:
    """Whether the folder's content changed after the training; hashes it only if a file is newer."""
    folder, trained_at = Path(start), datetime.fromisoformat(model.created_at)
    if not folder.is_dir():
        return False
    times = (datetime.fromtimestamp(file.stat().st_mtime, UTC) for file in folder.iterdir() if file.suffix != ".md")
    return max(times, default=trained_at) > trained_at and folder_digest(folder) != model.meta.get("base_digest")


def _was_begun(recipe: Recipe, settings: TrainingSettings, stage: TrainedStage, start: str, rows: Artifact) -> bool:
    folder = Path(start)
    if not folder.is_dir():
        return False
    inputs = training_inputs(settings, stage, base=folder_digest(folder), rows=rows.digest)
    return (Path(recipe.output) / "models" / folder_name(stage, inputs)).is_dir()
