"""The folder of one training: locked by one process, usable after a kill, with results written atomically."""

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..core.errors import TrainingError
from .result import TrainedModel

DONE = "trained.json"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Creates and locks the folder for the block. Raises TrainingError if another process holds the lock."""
    folder.mkdir(parents=True, exist_ok=True)
    # The kernel releases a flock when its process ends, so a kill leaves no stale lock (flock(2)).
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingError(
                "another process is training this stage on these rows", where=str(folder), todo="wait until it ends"
            ) from error
        yield


def finished(folder: Path) -> TrainedModel | None:
    """The result of a training that finished in this folder; None if none did."""
    try:
        trained = TrainedModel.model_validate_json((folder / DONE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    # The stored paths are absolute. Taking only their names lets the user move the output folder.
    path, adapter = folder / trained.path.name, folder / trained.adapter.name if trained.adapter else None
    return trained.model_copy(update={"path": path, "adapter": adapter}) if path.is_dir() else None


def finish(folder: Path, trained: TrainedModel) -> None:
    """Marks the training as finished and deletes its scratch files; call it last."""
    write_whole(folder / DONE, trained.model_dump_json(indent=1))
    for scratch in ("checkpoints", "encoded"):
        shutil.rmtree(folder / scratch, ignore_errors=True)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint; deletes newer ones that a kill left half-written."""
    found = sorted(folder.glob("checkpoints/checkpoint-*"), key=lambda path: int(path.name[11:]), reverse=True)
    for path in found:
        try:
            # Trainer._save_checkpoint writes this file last, after the weights, the optimizer and the RNG state.
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(path)
        else:
            return path
    return None


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder, which is renamed to `folder` when the block ends without an error."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def write_whole(path: Path, text: str) -> None:
    """Writes a file atomically: readers see all of it or none."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
