"""`muser` commands in processes that can be killed at any SQL statement, forked from one that has everything imported.

Read on stdin and answered on stdout, a JSON object a line: a command, then its process id, then how that process ended.
"""

import gc
import json
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, Self

SAID = "said.txt"
"""In the command's folder: what it printed, together with what those before it did."""


class KillableCommands:
    """Starts such commands one after the other; `with KillableCommands() as commands`."""

    def __init__(self) -> None:
        pipe = subprocess.PIPE
        self._parent = subprocess.Popen([sys.executable, __file__], stdin=pipe, stdout=pipe, text=True)
        self._alive: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._alive is not None:
            os.kill(self._alive, signal.SIGKILL)
        self._parent.kill()
        self._parent.communicate()

    def start(
        self, folder: Path, *words: object, die_at: Sequence[str] = (), limit: int = 0, torn: bool = False
    ) -> int:
        """The id of the command's process.

        It kills itself with SIGKILL as it comes to an SQL statement that matches the last of `die_at`, the others
        having been matched in their order. No file may grow beyond `limit` bytes: writing fails as on a full disk,
        or, if `torn`, the system ends the process in the middle of the write.
        """
        assert self._parent.stdin
        told = {"folder": str(folder), "words": list(map(str, words)), "die_at": die_at, "limit": limit, "torn": torn}
        self._parent.stdin.write(json.dumps(told) + "\n")
        self._parent.stdin.flush()
        self._alive = int(self._read())
        return self._alive

    def wait(self) -> int:
        """The exit code of the command started last; -9 where it was killed."""
        code = int(self._read())
        self._alive = None
        return code

    def run(self, folder: Path, *words: object, **more: Any) -> int:
        """Starts a command and waits for its end."""
        self.start(folder, *words, **more)
        return self.wait()

    def _read(self) -> Any:
        assert self._parent.stdout
        return json.loads(self._parent.stdout.readline())


def _obey() -> None:
    # What they import only when they need it is imported here as well.
    import httpcore2  # noqa: F401
    import openai.resources.chat  # noqa: F401

    import muser.cli.commands.db
    import muser.cli.commands.run
    import muser.cli.printing.summaries
    import muser.graph.run
    import muser.pipeline.models
    import muser.store.file.schema
    import muser.store.maintenance.health
    import muser.store.maintenance.space  # noqa: F401

    assert threading.active_count() == 1, "a fork takes no other thread along"
    gc.freeze()
    for line in sys.stdin:
        command = json.loads(line)
        pid = os.fork()
        if not pid:
            _become(**command)
        _tell(pid)
        _tell(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _become(folder: str, words: list[str], die_at: list[str], limit: int, torn: bool) -> NoReturn:
    from muser.cli.app import main

    os.chdir(folder)
    said = os.open(SAID, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(said, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if die_at:
        _die_at([re.compile(each, re.DOTALL) for each in die_at])
    if limit:
        # Python ignores the signal, so that a write fails with an error instead.
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if torn else signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    code: object = 70
    try:
        main(words)
    except SystemExit as end:
        code = end.code or 0
    except BaseException:  # noqa: BLE001 - the driver's own frames are no part of what a command says
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def _die_at(left: list[re.Pattern[str]]) -> None:
    """Every connection tells its statements before they are executed, whichever thread it is used by."""
    connect, lock = sqlite3.connect, threading.Lock()

    def look(statement: str) -> None:
        with lock:
            if left[0].search(statement.strip()):
                del left[0]
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.set_trace_callback(look)
        return connection

    sqlite3.connect = traced  # type: ignore[assignment]


if __name__ == "__main__":
    _obey()
