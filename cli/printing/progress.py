"""Progress of a run: a live panel on a terminal, plain lines elsewhere."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .console import say

if TYPE_CHECKING:
    from ...graph.progress import Progress

EVERY = 5.0  # seconds between plain lines
OFTEN = 2.0  # seconds between lines of a command that does nothing else
PANEL_RATE = 4  # refreshes per second


@contextmanager
def shown_progress(
    console: Console, every: float = EVERY, *, panel: bool = True
) -> Iterator[Callable[["Progress"], None]]:
    """A callback for the runner's `on_progress`. The runner calls it once; after that the counters are polled."""
    with _live(console) if panel and console.is_terminal else _lines(console, every) as follow:
        yield follow


@contextmanager
def _live(console: Console) -> Iterator[Callable[["Progress"], None]]:
    panel = _Panel()
    with Live(panel, console=console, refresh_per_second=PANEL_RATE) as live:
        try:
            yield panel.follow
        finally:
            live.transient = panel.progress is None


class _Panel:
    """Renders the current counters whenever Live refreshes."""

    def __init__(self) -> None:
        self.progress: Progress | None = None

    def follow(self, progress: "Progress") -> None:
        self.progress = progress

    def __rich__(self) -> Panel | Text:
        if self.progress is None:
            return Text("starting the run …", style="dim")
        p, ended = self.progress, self.progress.done + self.progress.failed
        head = Table.grid(expand=True, padding=(0, 1))
        head.add_column(ratio=1)
        head.add_column(justify="right", no_wrap=True)
        eta = "" if p.eta is None or not p.total - ended else f" · about {duration(p.eta)} left"
        head.add_row(
            ProgressBar(total=max(p.total, 1), completed=ended), f"{ended:,}/{p.total:,} · {duration(p.elapsed)}{eta}"
        )
        counts = Text.assemble(
            (f"{p.done:,} done", "green"), " · ", (f"{p.failed:,} failed", "red" if p.failed else ""), " · ",
            f"{p.in_flight:,} in flight{_items(p)}",
        )  # fmt: skip
        under_way = Text(f"calls in progress: {_nodes(p) or 'none'}")
        return Panel(Group(head, counts, under_way, Text(_rates(p))), title=Text(p.run_id), title_align="left")


@contextmanager
def _lines(console: Console, every: float) -> Iterator[Callable[["Progress"], None]]:
    begun, ended = threading.Event(), threading.Event()
    seen: list[Progress] = []
    last = ""

    def write() -> None:
        nonlocal last
        line = progress_line(seen[0])
        # A log of an unattended run should not grow by a line every few seconds while nothing changes.
        if line != last:
            console.print(Text(f"{time.strftime('%H:%M:%S')}  {line}"), soft_wrap=True)
            last = line

    def write_now_and_then() -> None:
        begun.wait()
        while not ended.wait(every):
            write()

    def follow(progress: "Progress") -> None:
        if not seen:
            seen.append(progress)
            write()
            begun.set()

    # A thread, because a busy event loop would delay the lines just when one looks at them.
    writer = threading.Thread(target=write_now_and_then, name="progress", daemon=True)
    writer.start()
    try:
        yield follow
    finally:
        ended.set()
        begun.set()
        writer.join()
        if seen:
            write()


def progress_line(p: "Progress") -> str:
    """The counters on one line."""
    nodes = _nodes(p)
    eta = "" if p.eta is None or p.done + p.failed >= p.total else f" · about {duration(p.eta)} left"
    flight = f"{p.in_flight:,} in flight{f' ({nodes})' if nodes else ''}"
    counts = f"{p.done:,}/{p.total:,} done, {p.failed:,} failed, {_rejected(p)}"
    return f"{p.run_id}: {counts}{flight}{_items(p)} · {_rates(p)}{eta}"


def telling(doing: str, things: str) -> Callable[[int, int], None]:
    """A callback that says every few seconds how many things are done and how long the rest will take."""
    started = told = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal told
        at = time.monotonic()
        if done and at - told >= OFTEN:
            told = at
            left = duration((at - started) * (total - done) / done)
            say(f"{doing}: {done:,} of {total:,} {things}, about {left} left")

    return tell


def duration(seconds: float) -> str:
    """Seconds in readable units."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{whole} s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"


def share(part: int, whole: int) -> str:
    """A part of a whole as a percentage."""
    return f"{100 * part / whole:.0f} %" if whole else "-"


def _nodes(p: "Progress") -> str:
    return ", ".join(f"{node} {count}" for node, count in sorted(p.nodes.items()) if count)


def _rejected(p: "Progress") -> str:
    return f"{p.rejected:,} rejected, " if p.rejected else ""


def _items(p: "Progress") -> str:
    return f" · {min(p.graded, p.items):,}/{p.items:,} items graded" if p.items else ""


def _rates(p: "Progress") -> str:
    reused = f", {p.reused:,} reused" if p.reused else ""
    cached = f" · {share(p.tokens_cached, p.tokens_in)} of prompt tokens cached" if p.tokens_in else ""
    return f"{p.calls:,} calls{reused} · {p.tokens_per_second:,.0f} tokens/s{cached}"
