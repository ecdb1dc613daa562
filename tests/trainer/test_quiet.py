"""The libraries' chatter lands in the log, and their ways of running out of room have one name."""

import errno
import logging
import warnings
from pathlib import Path

import pytest

from muser.core.errors import InputError, TrainingError
from muser.trainer.quiet import quiet, require_libraries, translated


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EROFS, "Read-only file system"),
        Exception("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:664] . PytorchStreamWriter failed writing file data/3"),
    ],
)
def test_a_full_disk_is_named(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="disk is full") as caught, translated(tmp_path):
        raise error
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("CUDA out of memory."), RuntimeError("DefaultCPUAllocator: not enough memory")],
)
def test_lack_of_memory_is_named(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="memory ran out"), translated(tmp_path):
        raise error


@pytest.mark.parametrize("error", [InputError("a row"), ZeroDivisionError()])
def test_every_other_failure_passes(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error)), translated(tmp_path):
        raise error


def test_a_light_installation_says_what_training_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(TrainingError, match=r"(?s)training needs torch, .*\[train\]"):
        require_libraries()


@pytest.mark.train
def test_warnings_and_library_messages_go_to_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "training.log"
    with quiet(log) as own:
        warnings.warn("beware", FutureWarning, stacklevel=1)
        logging.getLogger("transformers.trainer").error("something odd")
        own.info("starting")
    assert [word in log.read_text() for word in ("beware", "something odd", "starting")] == [True] * 3
    assert capfd.readouterr() == ("", "")
    with pytest.warns(FutureWarning, match="afterwards"):
        warnings.warn("afterwards", FutureWarning, stacklevel=1)
