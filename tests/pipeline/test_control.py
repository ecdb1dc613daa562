"""Is it the refined answers that teach? A control that was trained on the same answers, shuffled, must not gain."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from muser.core.loading import load_recipe
from muser.core.recipe import ModelSettings, Recipe
from muser.endpoints.server import launch
from muser.evals.grading import score_run
from muser.evals.scores import summarize
from muser.pipeline.demo import prepare_demo
from muser.pipeline.models import trained_model
from muser.pipeline.run import run_pipeline
from muser.pipeline.scoring import answering_recipe, evaluate_model, stage_recipe
from muser.pipeline.steps import Work
from muser.store.file.database import Store
from muser.store.records.artifacts import latest_artifact
from muser.trainer.sft import train_stage

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1800)]


def mean(recipe: Recipe, store: Store, run_id: str) -> float:
    overall = summarize(score_run(recipe, store, run_id)).overall
    assert overall is not None
    return overall.mean


def shuffle_answers(rows: Path, target: Path) -> Path:
    """Every query with the refined answer to another one, half the file away."""
    lines = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    half = len(lines) // 2
    moved = [
        line | {"completion": other["completion"]}
        for line, other in zip(lines, lines[half:] + lines[:half], strict=True)
    ]
    target.write_text("".join(json.dumps(line) + "\n" for line in moved), encoding="utf-8")
    return target


def test_a_control_trained_on_shuffled_refined_answers_does_not_gain(
    simulate: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    monkeypatch.setattr(launch, "serving_engines", lambda: ["transformers"])
    found = load_recipe(prepare_demo(tmp_path / "demo"))
    simulated = found.models["simulated"].model_copy(update={"base_url": simulate()})
    recipe = found.model_copy(update={"models": found.models | {"simulated": simulated}})
    assert recipe.training is not None
    with Store.open(recipe.store) as store:
        assert asyncio.run(run_pipeline(recipe, store)).stopped_at == ""
        distilled, rows = (
            trained_model(recipe, store, "distill"),
            latest_artifact(store, "rows", "demo-refine", "refine"),
        )
        assert distilled is not None
        assert rows is not None
        shuffled = shuffle_answers(Path(rows.path), tmp_path / "shuffled.jsonl")
        control = train_stage(
            recipe.training, "refine", base=distilled.path, rows=shuffled, output=tmp_path / "control"
        )
        served = recipe.models["student"].model_copy(update={"model": str(control.path)})
        with_control = recipe.model_copy(
            update={"models": recipe.models | {"control": ModelSettings(**served.model_dump())}}
        )
        asked = answering_recipe(with_control, "control", "demo-eval-control")
        asyncio.run(evaluate_model(Work(with_control, store), asked))
        scores = {
            stage: mean(stage_recipe(recipe, stage), store, f"demo-eval-{stage}") for stage in ("distill", "refine")
        }
        shuffled_score = mean(asked, store, "demo-eval-control")
    record_property("scores", scores | {"control": shuffled_score})
    assert scores["refine"] > scores["distill"] + 0.2
    assert shuffled_score <= scores["distill"] + 0.02
