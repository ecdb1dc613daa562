"""A training's folder is held by one process, and shows only what is complete."""

import subprocess
import sys
from pathlib import Path

import pytest

from muser.core.errors import TrainingError
from muser.trainer.result import TrainedModel
from muser.trainer.workdir import appearing, finish, finished, last_checkpoint, locked


def trained(folder: Path) -> TrainedModel:
    return TrainedModel(
        stage="distill",
        path=folder / "merged",
        adapter=folder / "adapter",
        base="b",
        base_digest="0",
        digest="1",
        rows_digest="2",
        rows=3,
        rows_dropped=0,
        held_out=1,
        steps=4,
        loss_first=2.0,
        loss_last=1.0,
        held_out_loss_first=2.5,
        held_out_loss_last=1.5,
        seconds=5.0,
        tokens=6,
        peak_memory_mb=7,
    )


def test_a_second_process_is_turned_away_until_the_first_is_gone(tmp_path: Path) -> None:
    hold = "import sys, pathlib; from muser.trainer.workdir import locked\nwith locked(pathlib.Path(sys.argv[1])):\n"
    with subprocess.Popen(
        [sys.executable, "-c", hold + "    print('held', flush=True); sys.stdin.read()", str(tmp_path / "a")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(TrainingError, match="another process"), locked(tmp_path / "a"):
            pass
        holder.kill()
    with locked(tmp_path / "a"):
        pass


def test_the_newest_checkpoint_that_is_complete_is_the_last_one(tmp_path: Path) -> None:
    for step, state in ((9, "{}"), (10, '{"global_step": 10}'), (20, '{"global_'), (30, None)):
        (tmp_path / f"checkpoints/checkpoint-{step}").mkdir(parents=True)
        if state is not None:
            (tmp_path / f"checkpoints/checkpoint-{step}/trainer_state.json").write_text(state)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoints/checkpoint-10"
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["checkpoint-10", "checkpoint-9"]


def test_without_checkpoints_there_is_no_last_one(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    def fail() -> None:
        with appearing(tmp_path / "model") as partial:
            (partial / "half").touch()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not (tmp_path / "model").exists()
    with appearing(tmp_path / "model") as partial:
        (partial / "whole").touch()
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["whole"]


def test_a_finished_training_is_found_even_where_its_folder_was_moved(tmp_path: Path) -> None:
    first, moved = tmp_path / "first", tmp_path / "moved"
    (first / "merged").mkdir(parents=True)
    (first / "checkpoints").mkdir()
    finish(first, trained(first))
    assert not (first / "checkpoints").exists()
    first.rename(moved)
    assert finished(moved) == trained(moved)


def test_a_training_is_not_finished_without_its_model(tmp_path: Path) -> None:
    assert finished(tmp_path) is None
    finish(tmp_path, trained(tmp_path))
    assert finished(tmp_path) is None
