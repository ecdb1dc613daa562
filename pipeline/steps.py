"""The steps of the method as a table: what each needs, whether its result is there, and how it is made."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..core.recipe import Recipe
from ..core.types import Stage, Value
from ..graph.progress import Progress, Summary
from ..store.file.database import Store
from ..trainer.result import TrainingProgress
from ..trainer.rows import RowReport

State = Literal["done", "unfinished", "stale", "to do"]


class StepState(Value):
    """Where a step stands. `result` is a run's or an artifact's id, `inputs` the digest of what decides it.

    `failed` samples of a finished step are left out of what follows, and so are `unjudged` rubric items, until they are
    retried.
    """

    name: str
    state: State
    result: str = ""
    inputs: str = ""
    failed: int = 0
    unjudged: int = 0
    note: str = ""


@dataclass(frozen=True)
class Listener:
    """Who is told how the pipeline goes on; by default nobody."""

    on_step: Callable[[StepState], None] = lambda _: None
    on_serve: Callable[[str, str], None] = lambda _name, _path: None
    on_warning: Callable[[str], None] = lambda _: None
    on_samples: Callable[[Progress], None] = lambda _: None
    on_rows: Callable[[Stage, RowReport], None] = lambda _stage, _report: None
    on_training: Callable[[TrainingProgress], None] = lambda _: None


@dataclass(frozen=True)
class Charts:
    """How pictures are drawn, by whoever can: a training's loss as a file, all losses and all scores as SVG."""

    draw_loss: Callable[[list[dict[str, Any]], Path], None]
    loss_curves: Callable[[dict[str, list[dict[str, Any]]]], bytes]
    score_bars: Callable[[dict[str, dict[str, tuple[float, float, float]]]], bytes]


@dataclass
class Work:
    """One pass through the steps: what they share, and the states found so far by the steps' names."""

    recipe: Recipe
    store: Store
    command: str = ""
    listener: Listener = field(default_factory=Listener)
    charts: Charts | None = None
    retry: bool = False
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    states: dict[str, StepState] = field(default_factory=dict)
    summary: Summary | None = None

    def result(self, step: str) -> str:
        """What a finished step left."""
        return self.states[step].result


@dataclass(frozen=True)
class Step:
    """A step of the method. `look` finds its state once all that it `needs` is done, `do` takes it on from there."""

    name: str
    needs: tuple[str, ...]
    look: Callable[[Work], StepState]
    do: Callable[[Work], Awaitable[None]]
