"""What training returns and reports, and the digests that identify a training by its inputs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..core.hashing import digest, file_digest
from ..core.recipe import StageSettings, TrainingSettings
from ..core.types import Stage, Value

WEIGHTS = (".safetensors", ".bin")


class TrainingProgress(Value):
    """A training's progress. `tokens_per_second` and `eta` (seconds) are measured since this process started.

    `loss` is smoothed: the mean over the latest tenth of all the steps, or over those that there are so far.
    """

    stage: Stage
    step: int
    total: int
    loss: float
    tokens: int
    tokens_per_second: float
    eta: float


class TrainedModel(Value):
    """A stage's result. `path` is the folder to serve, `digest` covers its weights, `seconds` excludes interruptions.

    `loss_first` and `loss_last` are means over the first and the last tenth of the steps. `held_out_loss_first` and
    `held_out_loss_last` are means over the `held_out` rows, before and after training; null if no row was held out.
    `peak_memory_mb` is the peak resident memory of the process or, with a GPU, the peak that torch allocated on it.
    """

    stage: Stage
    path: Path
    adapter: Path | None
    base: str
    base_digest: str
    digest: str
    rows_digest: str
    rows: int
    rows_dropped: int
    drop_reasons: dict[str, int] = {}
    held_out: int
    steps: int
    loss_first: float
    loss_last: float
    held_out_loss_first: float | None
    held_out_loss_last: float | None
    seconds: float
    tokens: int
    peak_memory_mb: int


def smoothed(losses: Sequence[float], steps: int) -> float:
    """The mean of the latest losses, over a tenth of all `steps`; one batch's loss varies with the rows in it."""
    latest = losses[-max(1, steps // 10) :]
    return sum(latest) / len(latest)


def stage_settings(settings: TrainingSettings, stage: Stage) -> StageSettings:
    """The settings of one stage."""
    return {"distill": settings.distill, "refine": settings.refine}[stage]


def identity(settings: TrainingSettings, stage: Stage) -> dict[str, Any]:
    """The settings that affect the weights, so without `save_steps`."""
    return {
        "stage": stage,
        "method": settings.method,
        "lora": settings.lora.model_dump(mode="json") if settings.method == "lora" else None,
        "precision": settings.precision,
        "seed": settings.seed,
        "settings": stage_settings(settings, stage).model_dump(mode="json", exclude={"save_steps"}),
    }


def training_inputs(settings: TrainingSettings, stage: Stage, *, base: str, rows: str) -> dict[str, Any]:
    """Everything that affects the weights, given the digests of the base model and of the rows."""
    return identity(settings, stage) | {"base": base, "rows": rows}


def folder_name(stage: Stage, inputs: dict[str, Any]) -> str:
    """The name of a training's folder; different inputs give a different name."""
    return f"{stage}-{digest(inputs)[:12]}"


def folder_digest(folder: Path, *, weights_only: bool = False) -> str:
    """One digest over the names and contents of a model folder's files, excluding the model card."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix != ".md")
    return digest({p.name: file_digest(p) for p in files if p.suffix in WEIGHTS or not weights_only})
