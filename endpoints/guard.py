"""Runs a server as a child, and stops it with all its processes when it ends or when whoever started this is gone.

    python -m muser.endpoints.guard COMMAND ARGUMENT…

Standard input is the leash: its end, however it comes about (SIGKILL of the parent included), stops the server.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

GRACE = 8.0  # seconds between SIGTERM and SIGKILL


def main(command: list[str]) -> int:
    """The server's exit status, as a shell tells it: 128 and the signal's number for one that was killed."""
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    signal.signal(signal.SIGTERM, lambda *_: _signal(server.pid, signal.SIGTERM))
    threading.Thread(target=_hold_leash, args=[server], daemon=True).start()
    status = server.wait()
    # Its workers share its process group; a server that crashed leaves them behind.
    _signal(server.pid, signal.SIGKILL)
    _await_end(server.pid)
    return status if status >= 0 else 128 - status


def _hold_leash(server: "subprocess.Popen[bytes]") -> None:
    # Not through sys.stdin, whose lock this thread would hold when the interpreter ends.
    while os.read(0, 4096):
        pass
    _signal(server.pid, signal.SIGTERM)
    time.sleep(GRACE)
    _signal(server.pid, signal.SIGKILL)


def _await_end(group: int) -> None:
    deadline = time.monotonic() + 2
    with contextlib.suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.02)


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
