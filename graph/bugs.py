"""Bugs: an exception that is not a MuserError fails its sample, and its traceback goes to a log."""

import traceback
from datetime import UTC, datetime
from pathlib import Path

from .. import __version__
from ..core.errors import MachineError


def log_bug(log: Path, sample: str, error: Exception) -> MachineError:
    """Append the traceback to `log`; returns the error the sample fails with."""
    head = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, muser {__version__}, sample {sample}\n"
    said = str(error).partition("\n")[0][:200]
    what = f"a bug in muser ({type(error).__name__}{': ' if said else ''}{said})"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        # A traceback may quote prompts and replies, so the log is as private as the store.
        log.touch(0o600)
        with log.open("a", encoding="utf-8") as file:
            file.write(head + "".join(traceback.format_exception(error)) + "\n")
    except OSError as failed:
        return MachineError(f"{what}; its traceback could not be written to {log} ({failed.strerror})", where=sample)
    return MachineError(what, where=f"{sample}; the traceback is in {log}", todo="report it and include that traceback")
