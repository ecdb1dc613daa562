"""Where words go: results to stdout, progress and messages to stderr, nothing in them that steers a terminal."""

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
    """The console of results; made when asked for, since what stdout is may change. It reads no markup in anything."""
    from rich.console import Console

    return Console(markup=False, highlight=False, emoji=False)


def stderr() -> "Console":
    """The console of progress and messages."""
    from rich.console import Console

    return Console(stderr=True, markup=False, highlight=False, emoji=False)


def print_json(value: Any) -> None:
    """One JSON value on stdout, with nothing in it that a terminal would act on."""
    sys.stdout.write(json_text(value, indent=2) + "\n")


def json_text(value: Any, indent: int | None = None) -> str:
    """A JSON value; what a terminal would act on or not show is escaped. On one line where nothing is indented."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _UNSAFE.sub(lambda found: json.dumps(found[0])[1:-1], text)


def say(text: str) -> None:
    """A message to the person at the terminal; it may quote what a server said."""
    sys.stderr.write(plain(text) + "\n")
    sys.stderr.flush()


def command(*words: str, store: str = DEFAULT_STORE) -> str:
    """A muser command to copy, with the store named where it is not the default."""
    return shlex.join(["muser", *words, *([] if store == DEFAULT_STORE else ["--store", store])])
