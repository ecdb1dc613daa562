"""The folder of one training: one process at a time works in it, a kill leaves it usable, results appear whole."""

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
    """Holds the folder, making it first. Raises TrainingError while another process does; a kill lets go."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingError(
                "another process is training this stage on these rows", where=str(folder), todo="wait for it to end"
            ) from error
        yield


def finished(folder: Path) -> TrainedModel | None:
    """What a training that ended here left."""
    try:
        trained = TrainedModel.model_validate_json((folder / DONE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    # Found by name, so that an output folder may be moved.
    path, adapter = folder / trained.path.name, folder / trained.adapter.name if trained.adapter else None
    return trained.model_copy(update={"path": path, "adapter": adapter}) if path.is_dir() else None


def finish(folder: Path, trained: TrainedModel) -> None:
    """Says that the training ended; the last thing to be written."""
    write_whole(folder / DONE, trained.model_dump_json(indent=1))
    for scratch in ("checkpoints", "encoded"):
        shutil.rmtree(folder / scratch, ignore_errors=True)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint; those that a kill left half-written are removed."""
    found = sorted(folder.glob("checkpoints/checkpoint-*"), key=lambda path: int(path.name[11:]), reverse=True)
    for path in found:
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))  # the file that is written last
        except (OSError, ValueError):
            shutil.rmtree(path)
        else:
            return path
    return None


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes its name once it is complete."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def write_whole(path: Path, text: str) -> None:
    """Writes a file that is there in full or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
