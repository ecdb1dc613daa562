"""The report's step: writes Markdown, HTML and JSON, and rewrites them only when the results have changed."""

import json
from pathlib import Path
from typing import Any

from ...core.errors import StoreError
from ...core.hashing import digest
from ...core.loading import recipe_yaml
from ...store.records.artifacts import Artifact, latest_artifact, record_artifact
from ..steps import StepState, Work
from . import render, results

FORMATS = (".md", ".html", ".json")


def look_at_report(work: Work) -> StepState:
    """Whether the newest report shows these results and its files exist."""
    inputs = _inputs(work)
    before = latest_artifact(work.store, "report", work.recipe.name)
    if before is None:
        return StepState(name="report", state="to do", inputs=inputs[:12])
    there = all(_file(work, ending).is_file() for ending in FORMATS)
    state = "done" if there and before.digest == inputs else "stale"
    return StepState(name="report", state=state, result=str(_file(work, ".html")), inputs=inputs[:12])


async def write_report(work: Work) -> None:
    """Writes each file atomically and records the report. Raises StoreError if the disk refuses."""
    data = results.gather(work)
    images = _draw(work, data)
    title = f"{work.recipe.name}: two-stage training"
    parts = list(render.blocks(data, {name: file.name for name, (file, _) in images.items()}))
    texts = {
        ".md": render.markdown(title, parts),
        ".html": render.html(title, parts, {file.name: image for file, image in images.values()}),
        ".json": json.dumps(data, indent=1, ensure_ascii=False) + "\n",
    }
    try:
        for file, image in images.values():
            _write(file, image)
        for ending, text in texts.items():
            _write(_file(work, ending), text.encode("utf-8", "replace"))
    except OSError as error:
        raise StoreError(f"the report cannot be written: {error.strerror}", where=str(error.filename)) from error
    found = latest_artifact(work.store, "report", work.recipe.name)
    if found is None or found.digest != _inputs(work):
        path = str(_file(work, ".html"))
        report = Artifact(kind="report", name=work.recipe.name, path=path, digest=_inputs(work))
        record_artifact(work.store, report, parents=[one["id"] for one in data["provenance"]["artifacts"]])


def _inputs(work: Work) -> str:
    results = {
        name: [state.result, state.inputs, state.note] for name, state in work.states.items() if name != "report"
    }
    return digest({"results": results, "recipe": recipe_yaml(work.recipe)})


def _file(work: Work, ending: str) -> Path:
    return Path(work.recipe.output) / f"{work.recipe.name}-report{ending}"


def _draw(work: Work, data: dict[str, Any]) -> dict[str, tuple[Path, bytes]]:
    """`scores` and `losses` → (file, SVG), if charts were passed in and there is data."""
    folder, name, charts = Path(work.recipe.output), work.recipe.name, work.charts
    drawn: dict[str, tuple[Path, bytes]] = {}
    if charts is None:
        return drawn
    if data["scores"]:
        drawn["scores"] = folder / f"{name}-scores.svg", charts.score_bars(_bars(data["scores"]))
    losses = {stage: history for stage, history in data["losses"].items() if history}
    if losses:
        drawn["losses"] = folder / f"{name}-losses.svg", charts.loss_curves(losses)
    return drawn


def _bars(scores: dict[str, Any]) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Stage → metric → (mean, low, high)."""
    bars: dict[str, dict[str, tuple[float, float, float]]] = {}
    for stage, found in scores.items():
        bars[stage] = {
            render.metric_name(name): (score["mean"], score["low"], score["high"])
            for name in render.metrics_of(scores)
            if (score := render.find_score(found["report"], name))
        }
    return bars


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    partial.write_bytes(data)
    partial.replace(path)
