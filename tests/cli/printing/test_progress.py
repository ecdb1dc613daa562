"""A run while it runs, with and without a terminal."""

import io
import re
import threading

from rich.console import Console

from muser.cli.printing.progress import duration, progress_line, share, shown_progress
from muser.core.types import Usage
from muser.graph.progress import Progress


def some_progress() -> Progress:
    progress = Progress("small", total=40, done=9, failed=1, in_flight=4, ended_here=5, reused=2)
    progress.started -= 10
    progress.nodes.update(persona=2, safety=1, respond=0)
    progress.count(Usage(tokens_in=1000, tokens_out=500, tokens_cached=250))
    return progress


def test_a_line_says_how_far_the_run_is() -> None:
    line = progress_line(some_progress())
    assert line.startswith("small: 9/40 done, 1 failed, 4 in flight (persona 2, safety 1) · 1 calls, 2 reused · 5")
    assert line.endswith("tokens/s · 25 % of prompt tokens cached · about 1 min 0 s left")


def test_an_evaluation_is_measured_in_rubric_items() -> None:
    progress = Progress("eval", total=4, done=1, in_flight=3, ended_here=1, items=100, graded=40, graded_before=20)
    progress.started -= 10
    line = progress_line(progress)
    assert "3 in flight · 40/100 items graded · " in line
    assert line.endswith("about 30 s left")


def test_without_a_terminal_there_are_plain_lines_at_the_start_at_times_and_at_the_end() -> None:
    file, progress, written = io.StringIO(), some_progress(), threading.Event()

    class Noticing(io.StringIO):
        def write(self, text: str) -> int:
            if "refine 1" in text:
                written.set()
            return file.write(text)

    with shown_progress(Console(file=Noticing(), width=40), every=0.01) as follow:
        follow(progress)
        progress.nodes.update(refine=1)
        assert written.wait(10)
        progress.done, progress.in_flight = 39, 0
        progress.nodes.clear()
    lines = file.getvalue().splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d  small: ", line) for line in lines)
    assert len(lines) >= 3
    assert "9/40" in lines[0]
    assert "39/40" in lines[-1]


def test_a_run_that_never_began_writes_nothing() -> None:
    file = io.StringIO()
    with shown_progress(Console(file=file)):
        pass
    assert not file.getvalue()


def test_on_a_terminal_a_panel_shows_the_same() -> None:
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=True, color_system=None)
    with shown_progress(console) as follow:
        follow(some_progress())
    text = file.getvalue()
    for part in ("small", "10/40", "9 done", "1 failed", "4 in flight", "persona 2, safety 1", "25 % of prompt tokens"):
        assert part in text


def test_durations_and_shares_read_well() -> None:
    assert [duration(s) for s in (0.04, 9.96, 59.4, 61, 3599.6, 7260)] == [
        "0.0 s", "10 s", "59 s", "1 min 1 s", "1 h 0 min", "2 h 1 min",
    ]  # fmt: skip
    assert (share(1, 3), share(0, 0)) == ("33 %", "-")
