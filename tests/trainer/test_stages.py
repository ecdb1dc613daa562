"""A recipe's stages: rows from a run of the store, a start from the right model, a result that is found again."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from muser.core.errors import InputError, MissingModel, SettingsError
from muser.core.recipe import ModelSettings, Recipe, TrainingSettings
from muser.core.types import SampleInput
from muser.store.file.database import Store
from muser.store.queries import export
from muser.store.records.artifacts import artifacts_of, latest_artifact, parents_of, samples_of
from muser.store.records.runs import Run, create_run
from muser.store.records.samples import add_samples, record_sample
from muser.trainer.stages import run_training

Make = Callable[..., TrainingSettings]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "muser.db") as opened:
        yield opened


@pytest.fixture
async def run_id(store: Store, examples: list[dict[str, Any]]) -> str:
    """A run whose samples are all refined."""
    create_run(store, Run(id="demo", name="demo", recipe="name: demo\n", identity={}, fingerprint="f"))
    keys = [f"s{number:04d}" for number in range(1, len(examples) + 1)]
    add_samples(store, "demo", [SampleInput(key=key) for key in keys], run_seed=0)
    for key, row in zip(keys, examples, strict=True):
        _, _, answer = row["completion"][0]["content"].rpartition("</think>\n\n")
        state = {
            "query": row["prompt"][0]["content"],
            "response": {"reasoning": "", "answer": "Rest and drink."},
            "refinement": {"reasoning": "We should ask for the age.", "answer": answer},
        }
        await record_sample(store, f"demo/{key}", status="done", state=state, checkpoint_id="c1")
    return "demo"


@pytest.fixture
def recipe(tiny: Path, tmp_path: Path, settings: Make) -> Callable[..., Recipe]:
    def make(method: str = "full") -> Recipe:
        return Recipe(
            name="demo",
            models={"student": ModelSettings(model=tiny.name)},
            training=settings(method, epochs=1, batch_size=24),
            output=str(tmp_path / "output"),
            folder=tiny.parent,
        )

    return make


@pytest.mark.train
def test_refine_needs_a_distilled_student(recipe: Callable[..., Recipe], store: Store) -> None:
    with pytest.raises(MissingModel, match="student@distill, which is not trained yet"):
        run_training(recipe(), store, "refine", run_id="demo")


@pytest.mark.train
def test_what_cannot_be_trained_is_refused(recipe: Callable[..., Recipe], store: Store, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no training section"):
        run_training(recipe().model_copy(update={"training": None}), store, "distill", run_id="demo")
    with pytest.raises(SettingsError, match="needs rows"):
        run_training(recipe(), store, "distill")
    with pytest.raises(SettingsError, match="file of rows does not exist"):
        run_training(recipe(), store, "distill", rows=tmp_path / "absent.jsonl")
    with pytest.raises(InputError, match="no run"):
        run_training(recipe(), store, "distill", run_id="absent")


@pytest.mark.train
@pytest.mark.parametrize("method", ["full", "lora"])
def test_two_stages_train_one_after_the_other_and_the_store_tells_what_trained_them(
    method: str, recipe: Callable[..., Recipe], store: Store, run_id: str
) -> None:
    distilled = run_training(recipe(method), store, "distill", run_id=run_id)
    refined = run_training(recipe(method), store, "refine", run_id=run_id)
    assert refined.base == str(distilled.path)
    assert refined.rows_digest != distilled.rows_digest

    served = {stage: latest_artifact(store, "model", "student", stage) for stage in ("distill", "refine")}
    first, second = served["distill"], served["refine"]
    assert first is not None
    assert first.id is not None
    assert second is not None
    assert second.id is not None
    assert (second.path, second.digest, second.run_id) == (str(refined.path), refined.digest, run_id)
    assert second.meta["loss_last"] == refined.loss_last
    assert len(samples_of(store, second.id)) == 24
    kinds = ["rows", "model"] if method == "full" else ["rows", "adapter", "model"]
    assert [one.kind for one in artifacts_of(store, "demo/s0001")] == kinds * 2
    trained_by = second if method == "full" else parents_of(store, second.id)[0]
    assert trained_by.id is not None
    assert [one.kind for one in parents_of(store, trained_by.id)] == ["model", "rows"]


@pytest.mark.train
def test_training_again_finds_the_result_and_records_it_once(
    recipe: Callable[..., Recipe], store: Store, run_id: str
) -> None:
    first = run_training(recipe(), store, "distill", run_id=run_id)
    assert run_training(recipe(), store, "distill", run_id=run_id) == first
    assert [row["kind"] for row in store.read("SELECT kind FROM artifacts ORDER BY id")] == ["rows", "model"]


@pytest.mark.train
def test_a_file_of_ones_own_rows_trains_as_well(recipe: Callable[..., Recipe], store: Store, rows: Path) -> None:
    trained = run_training(recipe(), store, "distill", rows=rows)
    recorded = latest_artifact(store, "model", "student", "distill")
    assert recorded is not None
    assert recorded.id is not None
    [source] = parents_of(store, recorded.id)
    assert (source.kind, source.path, source.digest) == ("rows", str(rows), trained.rows_digest)


@pytest.mark.train
def test_a_file_of_exported_rows_keeps_its_samples_and_training_from_the_run_links_the_export_too(
    recipe: Callable[..., Recipe], store: Store, run_id: str, tmp_path: Path
) -> None:
    path = tmp_path / "moved.jsonl"
    lines = [
        json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in export.rows(store, run_id, "distill")
    ]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    trained = run_training(recipe(), store, "distill", rows=path)
    recorded = latest_artifact(store, "model", "student", "distill")
    assert recorded is not None
    assert recorded.id is not None
    assert len(samples_of(store, recorded.id)) == 24
    assert run_training(recipe(), store, "distill", run_id=run_id) == trained
    assert [one.name for one in parents_of(store, recorded.id)] == ["moved", "demo"]
    assert latest_artifact(store, "model", "student", "distill") == recorded


@pytest.mark.train
def test_rows_of_another_stage_are_refused(recipe: Callable[..., Recipe], store: Store, run_id: str) -> None:
    path = Path(recipe().output) / "rows.jsonl"
    export.export_rows(store, run_id, "refine", path)
    with pytest.raises(InputError, match="belongs to stage refine, but stage distill is being trained") as refused:
        run_training(recipe(), store, "distill", rows=path)
    assert refused.value.where == f"{path}:1"
