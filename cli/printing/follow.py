"""`muser run --follow`: a line for each sample as it ends, from any of the run's workers."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ...core.errors import StoreError
from .console import json_text

if TYPE_CHECKING:
    from ...graph.progress import Progress
    from ...store.file.database import Store
    from ...store.queries.listing import SampleLine

EVERY = 0.5  # seconds between polls of the store
BACK = 60.0  # seconds that a row may commit after its timestamp: as long as a writer waits for SQLite's lock
KEY = 8  # columns


@contextmanager
def followed(store: "Store", write: Callable[[str], None], *, json: bool) -> Iterator[Callable[["Progress"], None]]:
    """A callback for the runner's `on_progress`; inside the block, finished samples are written."""
    from ...store.file.database import now
    from ...store.queries.listing import ended_since

    begun, ended = threading.Event(), threading.Event()
    run_id, since = "", now()
    known: set[str] = set()

    def look() -> None:
        for line in ended_since(store, run_id, max(since, now(BACK)), known):
            known.add(line.id)
            write(json_text(line.model_dump(mode="json")) if json else sample_line(line))

    def look_now_and_then() -> None:
        begun.wait()
        # A busy store must not end the run; the next poll catches up.
        while not ended.wait(EVERY):
            with suppress(StoreError):
                look()

    def follow(progress: "Progress") -> None:
        nonlocal run_id
        run_id = progress.run_id
        begun.set()

    looking = threading.Thread(target=look_now_and_then, name="following", daemon=True)
    looking.start()
    try:
        yield follow
    finally:
        ended.set()
        begun.set()
        looking.join()
        if run_id:
            look()


def sample_line(line: "SampleLine") -> str:
    """A finished sample on one line: key, outcome, verdicts, tokens and seconds."""
    from .text import plain
    from .traces import VERDICTS

    cause = (line.cause_kind or "").rpartition(".")[2]
    where = f" at {line.failed_node}" if line.failed_node else ""
    how = f"failed{where}: {cause}" if line.status == "failed" else line.status
    verdicts = " ".join(f"{critic} {VERDICTS[verdict][0]}" for critic, verdict in line.verdicts.items())
    parts = [f"{line.key:{KEY}}{how}", verdicts, f"{line.tokens:,} tokens", f"{line.seconds or 0:.1f} s"]
    return plain("  ".join(part for part in parts if part)).replace("\n", " ")


def write_line(text: str) -> None:
    """Writes to stdout and flushes. Once the pipe's reader is gone, output is discarded and the run continues."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # https://docs.python.org/3/library/signal.html#note-on-sigpipe: also keeps the flush at exit from failing.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
