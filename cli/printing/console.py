"""Output: results to stdout, progress and messages to stderr, without terminal control codes."""

import json
import re
import shlex
import sys
from typing import TYPE_CHECKING, Any

from ...core.characters import BIDI, INVISIBLE
from .text import plain

if TYPE_CHECKING:
    from rich.console import Console

DEFAULT_STORE = "muser.db"
_UNSAFE = re.compile(f"[\x7f-\x9f\u2028\u2029{BIDI}{INVISIBLE}\ud800-\udfff]")


def stdout() -> "Console":
    """The console for results, without markup. Created on each call, because sys.stdout may be replaced."""
    from rich.console import Console

    return Console(markup=False, highlight=False, emoji=False)


def stderr() -> "Console":
    """The console for progress and messages."""
    from rich.console import Console

    return Console(stderr=True, markup=False, highlight=False, emoji=False)


def print_json(value: Any) -> None:
    """One JSON value on stdout, with terminal control codes escaped."""
    sys.stdout.write(json_text(value, indent=2) + "\n")


def json_text(value: Any, indent: int | None = None) -> str:
    """A JSON value with control codes and invisible characters escaped; on one line without `indent`."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _UNSAFE.sub(lambda found: json.dumps(found[0])[1:-1], text)


def say(text: str) -> None:
    """A message on stderr, cleaned of control codes because it may quote a server."""
    sys.stderr.write(plain(text) + "\n")
    sys.stderr.flush()


def elapsed() -> Any:
    """A context that shows a spinner with the elapsed time; on terminals only."""
    from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn

    progress = Progress(SpinnerColumn(), TimeElapsedColumn(), console=stderr(), transient=True)
    progress.add_task("")
    progress.disable = not progress.console.is_terminal
    return progress


def command(*words: str, store: str = DEFAULT_STORE) -> str:
    """A muser command to copy; names the store unless it is the default."""
    return shlex.join(["muser", *words, *([] if store == DEFAULT_STORE else ["--store", store])])
