"""The libraries' chatter lands in the log, and their ways of running out of room have one name."""

import errno
import logging
import os
import subprocess
import sys
import threading
import warnings
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from muser.core.errors import InputError, TrainingError
from muser.trainer.library_logs import library_logs, require_libraries, translated

# What TRL does when a trainer is made.
REPORT = """
import sys
from pathlib import Path
from huggingface_hub.utils import send_telemetry
from huggingface_hub.utils._telemetry import _TELEMETRY_QUEUE
from muser.trainer.library_logs import library_logs
with library_logs(Path(sys.argv[1])):
    send_telemetry("trl/SFTTrainer")
    _TELEMETRY_QUEUE.join()
"""


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
    with pytest.raises(TrainingError, match="ran out of memory"), translated(tmp_path):
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
    with library_logs(log) as own:
        warnings.warn("beware", FutureWarning, stacklevel=1)
        logging.getLogger("transformers.trainer").error("something odd")
        own.info("starting")
    assert [word in log.read_text() for word in ("beware", "something odd", "starting")] == [True] * 3
    assert capfd.readouterr() == ("", "")
    with pytest.warns(FutureWarning, match="afterwards"):
        warnings.warn("afterwards", FutureWarning, stacklevel=1)


@pytest.mark.train
@pytest.mark.parametrize(("setting", "reports"), [({}, 0), ({"HF_HUB_DISABLE_TELEMETRY": "0"}, 1)])
def test_training_reports_nothing_unless_the_user_has_set_it(
    setting: dict[str, str], reports: int, tmp_path: Path
) -> None:
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Hub) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        left_out = {"HF_HUB_DISABLE_TELEMETRY", "DISABLE_TELEMETRY", "DO_NOT_TRACK", "HF_HUB_OFFLINE"}
        kept = {name: value for name, value in os.environ.items() if name not in left_out}
        there = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "NO_PROXY": "127.0.0.1"}
        command = [sys.executable, "-c", REPORT, str(tmp_path / "log")]
        subprocess.run(command, env=kept | there | setting, check=True)
        hub.shutdown()
    assert len(asked) == reports, asked
