"""`muser pipeline --plan`, and what `pipeline` and `train` say where they cannot begin."""

from pathlib import Path

from muser.store.file.database import Store

from ..conftest import Muser, write_recipe

TRAINING = """\
  student: {{model: student}}
roles: {{persona: main, responder: main, critic: main, refiner: main, judge: main}}
training: {{model: student}}
"""


def two_stages(folder: Path, url: str) -> Path:
    """The small recipe with a student to train."""
    path = write_recipe(folder, url)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("critics:\n", TRAINING.format() + "critics:\n", 1), encoding="utf-8")
    return path


def test_a_plan_says_what_would_be_made_and_makes_nothing(muser: Muser, tmp_path: Path, simulated: str) -> None:
    recipe = two_stages(tmp_path, simulated)
    ended = muser("pipeline", recipe, "--plan")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "· distill.run   to do      4 samples",
        "· distill.train to do      after distill.run",
        "· refine.run    to do      after distill.train",
        "· refine.train  to do      after distill.train",
        "· report        to do      after refine.train",
    ]
    assert "There is no store here" in muser("runs").err


def test_a_plan_in_json_names_every_step(muser: Muser, tmp_path: Path, simulated: str) -> None:
    found = muser("pipeline", two_stages(tmp_path, simulated), "--plan", "--json").json()
    assert [(step["name"], step["state"]) for step in found][:2] == [
        ("distill.run", "to do"),
        ("distill.train", "to do"),
    ]


def test_a_recipe_without_training_is_no_pipelines_recipe(muser: Muser, recipe: Path) -> None:
    ended = muser("pipeline", recipe)
    assert ended.code == 1
    assert "a pipeline's recipe needs training" in ended.err


def test_training_without_a_run_says_which_are_looked_for(muser: Muser, tmp_path: Path, simulated: str) -> None:
    recipe = two_stages(tmp_path, simulated)
    ended = muser("train", recipe, "--stage", "distill")
    assert ended.code == 1
    assert "There is no store here" in ended.err
    with Store.open(tmp_path / "muser.db"):
        ended = muser("train", recipe, "--stage", "distill")
    assert "there is no run small-distill or small to train on" in ended.err


def test_a_missing_stage_model_is_named_with_the_command_that_makes_it(
    muser: Muser, tmp_path: Path, simulated: str
) -> None:
    recipe = two_stages(tmp_path, simulated)
    ended = muser("run", recipe, "--set", "roles.refiner=student@distill")
    assert ended.code == 1
    assert "student@distill is not trained yet" in ended.err
    assert "muser pipeline RECIPE" in ended.err


def test_a_limit_ends_the_pipeline_with_the_command_that_goes_on(muser: Muser, tmp_path: Path, simulated: str) -> None:
    ended = muser("pipeline", two_stages(tmp_path, simulated), "--set", "limits.tokens=1", "--set", "concurrency=1")
    assert ended.code == 4
    assert "stopped at distill.run; resume with: muser pipeline" in ended.err
    assert "1 of 4 samples done, 3 pending" in ended.out
