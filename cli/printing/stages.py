"""Progress of a pipeline: one line per step, and the progress within it."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from .console import say
from .progress import duration, shown_progress
from .text import plain

if TYPE_CHECKING:
    from ...core.types import Stage
    from ...graph.progress import Progress
    from ...pipeline.steps import Listener, StepState
    from ...trainer.memory import MemoryPlan
    from ...trainer.result import TrainingProgress
    from ...trainer.rows import RowReport

MARKS = {"done": ("✓", "green"), "unfinished": ("…", "yellow"), "stale": ("↻", "yellow"), "to do": ("·", "dim")}
EVERY = 5.0  # seconds between progress lines of training


@contextmanager
def shown_steps(console: Console) -> Iterator["Listener"]:
    """A listener for `run_pipeline` that shows its steps."""
    from ...pipeline.steps import Listener

    with ExitStack() as open_now:
        screen = _Screen(console, open_now)
        yield Listener(
            on_step=screen.step,
            on_serve=screen.serve,
            on_warning=lambda what: say(f"  warning: {what}"),
            on_samples=screen.samples,
            on_rows=screen.rows,
            on_memory=screen.memory,
            on_training=screen.training,
        )


def step_line(state: "StepState") -> Text:
    """A step's name, state and note."""
    mark, style = MARKS[state.state]
    line = Text.assemble((f"{mark} {state.name:<14}", style), f"{state.state:<11}", plain(state.note))
    line.rstrip()
    return line


class _Screen:
    """Shows one thing at a time: a run's panel, or a training's lines."""

    def __init__(self, console: Console, open_now: ExitStack) -> None:
        self.console, self.open_now = console, open_now
        self.run: Progress | None = None
        self.follow: Callable[[Progress], None] = lambda _: None
        self.said = 0.0

    def step(self, state: "StepState") -> None:
        self.close()
        self.console.print(step_line(state), soft_wrap=True)

    def serve(self, name: str, path: str) -> None:
        say(f"  serving {name} from {path} ...")

    def samples(self, progress: "Progress") -> None:
        if progress is not self.run:
            self.close()
            self.run = progress
            self.follow = self.open_now.enter_context(shown_progress(self.console))
        self.follow(progress)

    def rows(self, stage: "Stage", report: "RowReport") -> None:
        lengths = f"{report.lengths['min']:,}–{report.lengths['max']:,} tokens each (max_length {report.max_length:,})"
        say(f"  training {stage}: {report.kept:,} of {report.rows:,} rows, {lengths}")
        if report.held_out:
            say(f"  {report.held_out:,} rows held out, to measure the loss on them")
        if report.dropped:
            say(f"  {len(report.dropped):,} rows dropped: {', '.join(sorted({r.reason for r in report.dropped}))}")

    def memory(self, plan: "MemoryPlan") -> None:
        say(f"  about {plan.needed / 1e9:.1f} GB of memory needed, {plan.free / 1e9:.1f} GB free")
        if plan.checkpointing:
            say(f"  activations are recomputed, which takes longer: keeping them would need {plan.kept / 1e9:.1f} GB")

    def training(self, progress: "TrainingProgress") -> None:
        ended = progress.step == progress.total
        if not ended and time.monotonic() - self.said < EVERY:
            return
        self.said = time.monotonic()
        left = "" if ended else f" · about {duration(progress.eta)} left"
        self.console.print(
            Text(
                f"  step {progress.step:,}/{progress.total:,} · loss {progress.loss:.3f} · "
                f"{progress.tokens_per_second:,.0f} tokens/s{left}"
            ),
            soft_wrap=True,
        )

    def close(self) -> None:
        self.open_now.close()
        self.run = None
