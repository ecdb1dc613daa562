"""Trains a stage of a recipe: picks its rows and starting model, and records the result in the store."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from ..core.errors import InputError, MissingModel, SettingsError
from ..core.hashing import file_digest
from ..core.packaged import base_path
from ..core.recipe import Recipe, TrainingSettings
from ..store.file.database import Store
from ..store.queries.export import export_rows, own_rows
from ..store.records.artifacts import (
    Artifact,
    decontaminations_of,
    latest_artifact,
    link_parents,
    parents_of,
    record_artifact,
)
from .library_logs import require_libraries
from .memory import MemoryPlan
from .result import TrainedModel, TrainingProgress, identity
from .rows import RowReport, read_rows


def run_training(
    recipe: Recipe,
    store: Store,
    stage: Literal["distill", "refine"],
    *,
    run_id: str | None = None,
    rows: Path | None = None,
    on_rows: Callable[[RowReport], None] | None = None,
    on_memory: Callable[[MemoryPlan], None] | None = None,
    on_progress: Callable[[TrainingProgress], None] | None = None,
    draw_loss: Callable[[list[dict[str, Any]], Path], None] | None = None,
) -> TrainedModel:
    """Train a stage on a run's rows, or on a file of rows, and record the result as the recipe's `MODEL@STAGE`.

    Writes rows to `rows/` and models to `models/` in the recipe's output folder. A rerun resumes, or returns the
    finished result. Raises SettingsError, MissingModel, InputError, TrainingError, StoreError.
    """
    require_libraries()
    settings, base, start = start_model(recipe, store, stage)
    output = Path(recipe.output)
    if rows is not None:
        source = _own_rows(store, rows, stage)
    elif run_id is not None:
        source = export_rows(store, run_id, stage, output / "rows" / f"{run_id}.{stage}.jsonl")
    else:
        raise SettingsError("training needs rows: name a run or a file of rows")

    from .sft import train_stage

    trained = train_stage(
        settings,
        stage,
        base=base,
        rows=Path(source.path) if rows is None else rows,
        output=output / "models",
        on_rows=on_rows,
        on_memory=on_memory,
        on_progress=on_progress,
        draw_loss=draw_loss,
        decontaminations=[found.meta for found in decontaminations_of(store, source)],
    )
    parents = [one.id for one in (source, start) if one is not None and one.id is not None]
    record(store, trained, settings, parents=parents, run_id=source.run_id)
    return trained


def start_model(
    recipe: Recipe, store: Store, stage: Literal["distill", "refine"]
) -> tuple[TrainingSettings, str, Artifact | None]:
    """(settings, folder or hub name that the stage starts from, its artifact if muser trained it).

    Raises SettingsError if the recipe has no training section, and MissingModel.
    """
    if recipe.training is None:
        raise SettingsError("nothing to train: the recipe has no training section", todo="add training:")
    name = recipe.training.model
    if stage == "refine":
        start = latest_artifact(store, "model", name, "distill")
        if start is None or not Path(start.path).is_dir():
            raise MissingModel(
                f"stage refine starts from {name}@distill, which "
                f"{'is not trained yet' if start is None else 'is recorded, but its folder is gone'}",
                where=start.path if start else str(store.path),
                todo="train it first: muser train RECIPE --stage distill",
            )
        return recipe.training, start.path, start
    return recipe.training, base_path(recipe, name), None


def record(
    store: Store, trained: TrainedModel, settings: TrainingSettings, *, parents: list[int], run_id: str | None = None
) -> int:
    """Record the model and return its artifact's id; a LoRA adapter becomes its parent.

    If the newest artifact is this model, only links to new `parents` are added.
    """
    newest = latest_artifact(store, "model", settings.model, trained.stage)
    if newest is not None and newest.id is not None and _same(newest, trained.path, trained.digest):
        link_parents(store, _made_by_training(store, newest), parents)
        return newest.id
    about = trained.model_dump(mode="json", exclude={"path", "adapter", "digest", "stage"})
    meta = about | {"settings": identity(settings, trained.stage)}

    def made(kind: Literal["adapter", "model"], path: Path, comes_from: list[int]) -> int:
        artifact = Artifact(
            kind=kind,
            name=settings.model,
            stage=trained.stage,
            path=str(path),
            digest=trained.digest,
            run_id=run_id,
            meta=meta,
        )
        return record_artifact(store, artifact, parents=comes_from)

    if trained.adapter is not None:
        parents = [made("adapter", trained.adapter, parents)]
    return made("model", trained.path, parents)


def _own_rows(store: Store, rows: Path, stage: Literal["distill", "refine"]) -> Artifact:
    """The artifact of a file of rows: the export with its digest if there is one, else a record of its samples."""
    if not rows.is_file():
        raise SettingsError("the file of rows does not exist", where=str(rows))
    named: dict[str, int] = {}
    for row in read_rows(rows):
        if row.stage not in (None, stage):
            raise InputError(
                f"the row belongs to stage {row.stage}, but stage {stage} is being trained",
                where=f"{rows}:{row.line}",
                todo=f"train with --stage {row.stage}, or export the rows of stage {stage}",
            )
        if row.sample:
            named.setdefault(row.sample, row.line)
    return own_rows(store, rows, stage, file_digest(rows), named)


def _made_by_training(store: Store, model: Artifact) -> int:
    """The artifact whose parents are the rows and base: the adapter that was merged into the model, else the model."""
    adapters = [one.id for one in parents_of(store, model.id or 0) if one.kind == "adapter" and one.id]
    return adapters[0] if adapters else model.id or 0


def _same(artifact: Artifact, path: Path, digest: str) -> bool:
    return (artifact.path, artifact.digest) == (str(path), digest)
