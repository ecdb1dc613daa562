"""endpoints/server/watchdog.py: no process of a server outlives it, whoever ends first and however."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from muser.endpoints.server import watchdog

# A server with a worker: writes both process ids, then does what its argument says.
SERVER = """
import os, pathlib, signal, subprocess, sys, time
folder, manner = pathlib.Path(sys.argv[1]), sys.argv[2]
hides = {"start_new_session": True} if manner == "hides" else {}
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], **hides)
if manner == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
(folder / "pids.part").write_text(f"{os.getpid()} {worker.pid}")
(folder / "pids.part").rename(folder / "pids")
sys.exit(3) if manner == "crashes" else time.sleep(60)
"""
# Starts a guard as muser does, and waits to be killed.
PARENT = """
import subprocess, sys, time
subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, start_new_session=True)
time.sleep(60)
"""
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Runs the server under a guard: how the server behaves, and what the command is put behind → the process."""
    started: list[subprocess.Popen[bytes]] = []

    def run(manner: str, *before: str) -> "subprocess.Popen[bytes]":
        command = [*before, sys.executable, watchdog.__file__, sys.executable, "-c", SERVER, str(tmp_path), manner]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def pids(folder: Path) -> list[int]:
    wait_for((folder / "pids").exists)
    return [int(word) for word in (folder / "pids").read_text().split()]


def is_gone(pid: int) -> bool:
    """Exited, or a zombie until process 1 of this machine collects it."""
    with suppress(FileNotFoundError, ProcessLookupError):
        state = Path(f"/proc/{pid}/stat")
        if state.exists():
            return state.read_text().rpartition(")")[2].split()[0] == "Z"
        os.kill(pid, 0)
        return False
    return True


def test_the_end_of_the_leash_stops_the_server_and_its_worker(start: Start, tmp_path: Path) -> None:
    process = start("serves")
    running = pids(tmp_path)
    assert not any(map(is_gone, running))
    assert process.stdin
    process.stdin.close()
    assert process.wait(timeout=20) == 128 + signal.SIGTERM
    wait_for(lambda: all(map(is_gone, running)))


def test_sigkill_of_the_parent_stops_them(start: Start, tmp_path: Path) -> None:
    parent = start("serves", sys.executable, "-c", PARENT)
    running = pids(tmp_path)
    parent.kill()
    wait_for(lambda: all(map(is_gone, running)))


def test_a_crashed_server_leaves_no_worker_and_its_exit_status(start: Start, tmp_path: Path) -> None:
    process = start("crashes")
    assert process.wait(timeout=20) == 3
    wait_for(lambda: all(map(is_gone, pids(tmp_path))))


def test_sigterm_of_the_guard_is_passed_on(start: Start, tmp_path: Path) -> None:
    process = start("serves")
    running = pids(tmp_path)
    process.terminate()
    process.wait(timeout=20)
    wait_for(lambda: all(map(is_gone, running)))


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")
def test_a_worker_that_left_the_group_is_stopped_too(start: Start, tmp_path: Path) -> None:
    process = start("hides")
    running = pids(tmp_path)
    assert process.stdin
    process.stdin.close()
    process.wait(timeout=20)
    assert all(map(is_gone, running))


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")
def test_sigkill_of_the_guard_sends_the_server_sigterm(start: Start, tmp_path: Path) -> None:
    process = start("serves")
    server, worker = pids(tmp_path)
    process.kill()
    wait_for(lambda: is_gone(server))
    os.kill(worker, signal.SIGKILL)  # a real server stops its own


@pytest.mark.slow
def test_a_server_that_ignores_sigterm_is_killed(start: Start, tmp_path: Path) -> None:
    process = start("stubborn")
    running = pids(tmp_path)
    assert process.stdin
    process.stdin.close()
    process.wait(timeout=watchdog.GRACE + 20)
    wait_for(lambda: all(map(is_gone, running)))
