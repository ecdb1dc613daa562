"""The digests and settings that say whether two trainings are the same."""

from collections.abc import Callable
from pathlib import Path

from muser.core.recipe import TrainingSettings
from muser.trainer.result import folder_digest, identity

Make = Callable[..., TrainingSettings]


def test_identity_is_that_of_the_stage_and_leaves_out_how_often_to_save(settings: Make) -> None:
    assert identity(settings(save_steps=2), "distill") == identity(settings(save_steps=9), "distill")
    assert identity(settings(), "distill") != identity(settings(), "refine")
    assert identity(settings(learning_rate=1e-3), "distill") != identity(settings(learning_rate=2e-3), "distill")


def test_the_adapters_shape_matters_only_where_there_is_one(settings: Make) -> None:
    other = {"lora": settings().lora.model_copy(update={"r": 4})}
    assert identity(settings("full"), "distill") == identity(settings("full").model_copy(update=other), "distill")
    assert identity(settings("lora"), "distill") != identity(settings("lora").model_copy(update=other), "distill")


def test_a_model_folders_digest_is_of_all_but_its_card(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "config.json").write_text("{}")
    before, weights = folder_digest(tmp_path), folder_digest(tmp_path, weights_only=True)
    (tmp_path / "README.md").write_text("card")
    assert folder_digest(tmp_path) == before
    (tmp_path / "config.json").write_text("[]")
    assert folder_digest(tmp_path) != before
    assert folder_digest(tmp_path, weights_only=True) == weights
