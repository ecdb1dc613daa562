"""The demo's benchmark is held out, honest in form, and everything in its folder is written once."""

import json
from pathlib import Path

import pytest

from muser.core.errors import StoreError
from muser.core.loading import load_recipe
from muser.core.types import Persona
from muser.endpoints.simulated.knowledge import knowledge
from muser.evals.healthbench import load_examples
from muser.graph.inputs import simulated_inputs
from muser.pipeline import demo
from muser.prompts.attributes import AttributeTables, load_attributes

RECIPE = load_recipe(demo.RECIPES / "demo.yaml")


@pytest.fixture(scope="module")
def tables() -> AttributeTables:
    return load_attributes(RECIPE.attributes, RECIPE.folder)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A prepared folder, without the student, whose making needs the training libraries."""
    monkeypatch.setattr(demo, "build_tiny_model", lambda folder, *_, **__: folder.mkdir(exist_ok=True))
    assert demo.prepare_demo(tmp_path / "demo") == tmp_path / "demo" / "recipe.yaml"
    return tmp_path / "demo"


def test_a_folder_that_cannot_be_written_is_said_so() -> None:
    with pytest.raises(StoreError, match=r"(?s)cannot be written.*/proc/x.*--folder"):
        demo.prepare_demo(Path("/proc/x"))


def combination(persona: Persona) -> tuple[str, str]:
    return persona["identity"], persona["condition"]


def test_training_and_benchmark_share_no_combination_of_identity_and_condition(tables: AttributeTables) -> None:
    drawn = list(demo.trained_personas(RECIPE, tables))
    simulated = [one.persona for one in simulated_inputs(RECIPE.samples, tables, RECIPE.seed)]
    assert drawn == simulated, "the personas that are held against the benchmark are those of the run"
    held_out = demo.held_out_personas(RECIPE, tables)
    assert len(held_out) == demo.EXAMPLES
    assert {*map(combination, held_out)} & {*map(combination, drawn)} == set()
    assert len({*map(combination, held_out)}) > demo.EXAMPLES / 2
    assert {one["condition"] for one in held_out} <= {one["condition"] for one in drawn}
    assert {one["identity"] for one in held_out} <= {one["identity"] for one in drawn}


def test_no_query_of_the_benchmark_is_asked_in_training(folder: Path, tables: AttributeTables) -> None:
    """Not even by another persona: identity and condition can be read from every query."""
    held_out = demo.held_out_personas(RECIPE, tables)
    examples = load_examples(folder / demo.BENCHMARK)
    for persona, example in zip(held_out, examples, strict=True):
        topic, asked = knowledge().read(example.prompt[-1].content), knowledge()
        expected = asked.topic(persona["condition"], persona["identity"], persona["region"])
        assert (topic.condition, topic.identity) == (expected.condition, expected.identity)


def test_the_benchmark_has_healthbenchs_format_and_the_axes_of_the_knowledge(folder: Path) -> None:
    examples = load_examples(folder / demo.BENCHMARK)
    axes = {tag for example in examples for item in example.rubrics for tag in item.tags if tag.startswith("axis:")}
    assert len(axes) == 5
    assert all(any(item.points < 0 for item in example.rubrics) for example in examples)
    assert {tag.partition(":")[0] for example in examples for tag in example.example_tags} == {"theme"}


def test_the_recipe_in_the_folder_is_complete_and_stays_in_it(folder: Path) -> None:
    recipe = load_recipe(folder / "recipe.yaml", needs=["inputs", "critics", "training", "evaluation"])
    assert (recipe.store, recipe.output) == (str(folder / "muser.db"), str(folder / "output"))
    assert recipe.samples == RECIPE.samples
    assert recipe.training == RECIPE.training
    assert (folder / "recipe.yaml").read_text().startswith(f"# muser pipeline {folder}/recipe.yaml\n")


def test_nothing_is_written_a_second_time(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    demo.prepare_demo(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_what_somebody_changed_in_the_folder_is_put_right(folder: Path) -> None:
    lines = (folder / demo.BENCHMARK).read_text().splitlines()
    (folder / demo.BENCHMARK).write_text(lines[0])
    demo.prepare_demo(folder)
    assert len((folder / demo.BENCHMARK).read_text().splitlines()) == len(lines)
    assert json.loads(lines[0])["prompt_id"] == "held-out-001"
