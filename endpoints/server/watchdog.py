"""Runs a server as a child, and stops it with all its processes when it ends or when whoever started this is gone.

    python -m muser.endpoints.server.watchdog COMMAND ARGUMENT…

Standard input is the leash: its end, however it comes about (SIGKILL of the parent included), stops the server. On
Linux no process that the server started can hide from it, and SIGKILL of the guard itself sends the server SIGTERM.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

GRACE = 8.0  # seconds between SIGTERM and SIGKILL
SET_DEATH_SIGNAL, SET_SUBREAPER = 1, 36  # prctl(2)


def main(command: list[str]) -> int:
    """The server's exit status, as a shell tells it: 128 and the signal's number for one that was killed."""
    # What the server leaves behind becomes a child of this process, wherever it belonged.
    _prctl(SET_SUBREAPER, 1)
    # No thread is running yet, so that the function is safe between fork and exec.
    prepare = _die_with_guard
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=prepare)  # noqa: PLW1509
    signal.signal(signal.SIGTERM, lambda *_: _signal(server.pid, signal.SIGTERM))
    threading.Thread(target=_hold_leash, args=[server], daemon=True).start()
    status = server.wait()
    # Its workers share its process group; a server that crashed leaves them behind.
    _signal(server.pid, signal.SIGKILL)
    _end_all(server.pid)
    return status if status >= 0 else 128 - status


def _die_with_guard() -> None:
    _prctl(SET_DEATH_SIGNAL, signal.SIGTERM)


def _prctl(option: int, value: int) -> None:
    # Linux's; elsewhere the leash has to do.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _hold_leash(server: "subprocess.Popen[bytes]") -> None:
    # Not through sys.stdin, whose lock this thread would hold when the interpreter ends.
    while os.read(0, 4096):
        pass
    _signal(server.pid, signal.SIGTERM)
    time.sleep(GRACE)
    _signal(server.pid, signal.SIGKILL)


def _end_all(group: int) -> None:
    """Waits for what was killed, so that its memory is free, and kills what had left the group."""
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        for child in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        try:
            os.killpg(group, 0)
        except (ProcessLookupError, PermissionError):
            if not _children():
                return
        time.sleep(0.02)


def _children() -> list[int]:
    """Of every thread of this process; empty where the system does not tell."""
    found = []
    for tasks in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(word) for word in tasks.read_text().split()]
    return found


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
