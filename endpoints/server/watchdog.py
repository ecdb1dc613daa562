"""Runs a server as a child, and stops all its processes when it exits or when the process that started this is gone.

    python -m muser.endpoints.server.watchdog COMMAND ARGUMENT…

End of file on standard input stops the server; it happens however the parent ends, SIGKILL included. On Linux no
process that the server started can escape, and SIGKILL of the watchdog itself sends the server SIGTERM (prctl(2)).
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
    """Returns the server's exit status as a shell reports it: 128 plus the signal's number if it was killed."""
    # Orphan processes of the server become children of this process, even from other sessions.
    _prctl(SET_SUBREAPER, 1)
    # No thread is running yet, so preexec_fn is safe here (docs.python.org/3/library/subprocess.html).
    prepare = _stop_with_watchdog
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=prepare)  # noqa: PLW1509
    signal.signal(signal.SIGTERM, lambda *_: _signal(server.pid, signal.SIGTERM))
    threading.Thread(target=_stop_with_parent, args=[server], daemon=True).start()
    status = server.wait()
    # Workers share the server's process group; a crashed server leaves them running.
    _signal(server.pid, signal.SIGKILL)
    _end_all(server.pid)
    return status if status >= 0 else 128 - status


def _stop_with_watchdog() -> None:
    # Runs in the child. The kernel clears the setting at fork, so the server's own children do not have it.
    _prctl(SET_DEATH_SIGNAL, signal.SIGTERM)


def _prctl(option: int, value: int) -> None:
    # Only Linux has prctl; elsewhere the end of standard input must be enough.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _stop_with_parent(server: "subprocess.Popen[bytes]") -> None:
    # Not through sys.stdin: this thread would hold its lock while the interpreter shuts down.
    while os.read(0, 4096):
        pass
    _signal(server.pid, signal.SIGTERM)
    time.sleep(GRACE)
    _signal(server.pid, signal.SIGKILL)


def _end_all(group: int) -> None:
    """Kills processes that left the group, and waits until all have exited and their memory is free."""
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        for child in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            # Without this, adopted children stay zombies and still count as members of the group (wait(2)).
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        try:
            os.killpg(group, 0)
        except (ProcessLookupError, PermissionError):
            if not _children():
                return
        time.sleep(0.02)


def _children() -> list[int]:
    """Child processes of every thread of this process; empty if the system does not list them (proc(5))."""
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
