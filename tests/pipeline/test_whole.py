"""The whole pipeline with a tiny student that is really trained and really served: once, again, changed, and killed."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muser.core.loading import recipe_yaml
from muser.core.recipe import Recipe
from muser.endpoints.server import launch
from muser.pipeline.run import PipelineResult, plan, run_pipeline
from muser.pipeline.steps import Charts, Listener
from muser.store.file.database import Store
from muser.store.records.artifacts import latest_artifact, samples_of
from muser.store.records.ledger import usage_by_role
from muser.trainer.tiny import build_tiny_model
from muser.viewer.charts import draw_loss, loss_curves, score_bars

from .conftest import ASKED, MakeRecipe

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]
CHARTS = Charts(draw_loss, loss_curves, score_bars)
FILES = ("trial-report.md", "trial-report.html", "trial-report.json", "trial-scores.svg", "trial-losses.svg")

# A pipeline that says what it is doing, for a parent that ends it there.
CHILD = """
import asyncio, sys
from pathlib import Path
from muser.core.loading import parse_recipe
from muser.endpoints.server import launch
from muser.pipeline.run import run_pipeline
from muser.pipeline.steps import Listener
from muser.store.file.database import Store

launch.serving_engines = lambda: ["transformers"]
recipe = parse_recipe(Path(sys.argv[1]).read_text(), sys.argv[2])
step = [""]

def say(*words):
    print(*words, flush=True)

def on_step(state):
    step[0] = state.name
    say("step", state.name, state.state)

listener = Listener(
    on_step=on_step,
    on_samples=lambda progress: say("in", step[0], progress.done) if progress.ended_here else None,
    on_training=lambda progress: say("in", step[0], progress.step),
)
with Store.open(recipe.store) as store:
    result = asyncio.run(run_pipeline(recipe, store, listener=listener))
say("ended", result.stopped_at)
"""


@pytest.fixture(autouse=True)
def _transformers_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same server whether or not vLLM is installed."""
    monkeypatch.setattr(launch, "serving_engines", lambda: ["transformers"])


@pytest.fixture(autouse=True)
def _student(tmp_path: Path) -> None:
    build_tiny_model(tmp_path / "student", ASKED.values(), vocabulary=300, hidden=96, layers=1, positions=2048)


def run(recipe: Recipe, store: Store, **more: Any) -> PipelineResult:
    return asyncio.run(run_pipeline(recipe, store, charts=CHARTS, command="muser pipeline trial.yaml", **more))


def changed(recipe: Recipe, **stage: Any) -> Recipe:
    """The recipe with other settings of stage refine."""
    assert recipe.training is not None
    refine = recipe.training.refine.model_copy(update=stage)
    return recipe.model_copy(update={"training": recipe.training.model_copy(update={"refine": refine})})


def outcome(store: Store, output: Path) -> dict[str, Any]:
    """What of a report must not depend on how often the pipeline was killed on its way."""
    data = json.loads((output / "trial-report.json").read_text())
    usage = [(one["step"], [(r["role"], r["calls"] + r["reused"]) for r in one["roles"]]) for one in data["cost"]]
    scores = {stage: found["report"] for stage, found in data["scores"].items()}
    training = {stage: (one["rows"], one["steps"], one["loss_last"]) for stage, one in data["training"].items()}
    return {key: data[key] for key in ("funnel", "verdicts")} | {"s": scores, "t": training, "calls": usage}


def test_everything_is_made_once_and_only_what_changed_is_made_again(
    simulated: str, make_recipe: MakeRecipe, store: Store, tmp_path: Path
) -> None:
    recipe, output = make_recipe(simulated), tmp_path / "output"
    result = run(recipe, store)
    assert [(step.name, step.state) for step in result.steps if step.state != "done"] == []
    assert result.report == output / "trial-report.html"
    before = {name: (output / name).read_bytes() for name in FILES}

    _the_store_says_what_became_of_what(store)
    _nothing_is_made_twice(recipe, store, before, output)

    other = changed(recipe, learning_rate=1e-3)
    waiting = {state.name: (state.state, state.note) for state in plan(other, store) if state.state != "done"}
    assert waiting == {
        "refine.train": ("stale", "its settings changed"),
        "eval.refine": ("stale", "again, after refine.train"),
        "report": ("stale", "again, after eval.refine"),
    }
    made: list[str] = []
    again = run(other, store, listener=Listener(on_serve=lambda name, _: made.append(name)))
    assert made == ["student@refine"]
    assert [step.result for step in again.steps if step.name == "eval.refine"] == ["trial-eval-refine-2"]
    assert run(recipe, store).stopped_at == ""


def _the_store_says_what_became_of_what(store: Store) -> None:
    refined = latest_artifact(store, "model", "student", "refine")
    assert refined is not None
    assert refined.id is not None
    used = samples_of(store, refined.id)
    assert len([one for one in used if one.startswith("trial-refine/")]) == 4
    assert len([one for one in used if one.startswith("trial-distill/")]) == 4
    for stage in ("base", "distill", "refine"):
        # A judge's reply about the same answer in another stage's run is reused.
        answered = {one.role: one.calls + one.reused for one in usage_by_role(store, f"trial-eval-{stage}")}
        assert answered == {"responder": 3, "judge": 12}


def _nothing_is_made_twice(recipe: Recipe, store: Store, before: dict[str, bytes], output: Path) -> None:
    heard: list[str] = []
    listener = Listener(
        on_serve=lambda *_: heard.append("served"),
        on_samples=lambda _: heard.append("ran"),
        on_training=lambda _: heard.append("trained"),
    )
    assert run(recipe, store, listener=listener).stopped_at == ""
    assert heard == []
    for name in FILES:
        (output / name).unlink()
    assert [state.name for state in plan(recipe, store) if state.state != "done"] == ["report"]
    run(recipe, store, listener=listener)
    assert heard == []
    assert {name: (output / name).read_bytes() for name in FILES} == before


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_kill_in_every_step_and_a_rerun_give_the_same_report(
    simulate: Callable[..., str], make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    url = simulate(latency=0.05)
    recipe = make_recipe(url, concurrency=1)
    undisturbed = recipe.model_copy(update={"store": str(tmp_path / "calm.db"), "output": str(tmp_path / "calm")})
    with Store.open(undisturbed.store) as store:
        run(undisturbed, store)
        expected = outcome(store, tmp_path / "calm")
    stops = [
        "in distill.run 1", "in distill.train 1", "in refine.run 2", "in refine.train 1", "in eval.base 1",
        "in eval.distill 1", "in eval.refine 1", "step report to do",
    ]  # fmt: skip
    for stop in stops:
        assert stop in child(recipe, tmp_path, stop)
    assert child(recipe, tmp_path, "")[-1] == "ended"
    with Store.open(recipe.store) as store:
        assert outcome(store, tmp_path / "output") == expected


def child(recipe: Recipe, folder: Path, stop: str) -> list[str]:
    """Runs the pipeline in a process of its own, and kills it when it says `stop`; what it said."""
    (folder / "recipe.yaml").write_text(recipe_yaml(recipe), encoding="utf-8")
    command = [sys.executable, "-c", CHILD, str(folder / "recipe.yaml"), str(folder)]
    said: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            said.append(line.strip())
            if line.strip() == stop:
                process.send_signal(signal.SIGKILL)
                break
        process.wait()
        if not stop or stop not in said:
            assert process.returncode == 0, process.stderr.read()[-2000:]
    return said
