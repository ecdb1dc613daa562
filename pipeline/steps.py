"""The types of the pipeline's steps: what a step needs, how to find its state, and how to run it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..core.recipe import Recipe
from ..core.types import Stage, Value
from ..graph.progress import Progress, Summary
from ..store.file.database import Store
from ..trainer.memory import MemoryPlan
from ..trainer.result import TrainingProgress
from ..trainer.rows import RowReport

State = Literal["done", "unfinished", "stale", "to do"]


class StepState(Value):
    """The state of a step. `result` is the id of a run or artifact, `inputs` the digest of the step's inputs.

    Later steps leave out the `failed` samples and `unjudged` rubric items of a finished step until a retry mends them.
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
    """Callbacks for the pipeline's progress; the defaults do nothing."""

    on_step: Callable[[StepState], None] = lambda _: None
    on_serve: Callable[[str, str], None] = lambda _name, _path: None
    on_warning: Callable[[str], None] = lambda _: None
    on_samples: Callable[[Progress], None] = lambda _: None
    on_rows: Callable[[Stage, RowReport], None] = lambda _stage, _report: None
    on_memory: Callable[[MemoryPlan], None] = lambda _: None
    on_training: Callable[[TrainingProgress], None] = lambda _: None


@dataclass(frozen=True)
class Charts:
    """Functions that draw charts: a training's loss to a file, all losses and all scores as SVG."""

    draw_loss: Callable[[list[dict[str, Any]], Path], None]
    loss_curves: Callable[[dict[str, list[dict[str, Any]]]], bytes]
    score_bars: Callable[[dict[str, dict[str, tuple[float, float, float]]]], bytes]


@dataclass
class Work:
    """One pass through the steps: their shared inputs, and the states found so far by step name."""

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
        """The result of a finished step."""
        return self.states[step].result


@dataclass(frozen=True)
class Step:
    """A step of the method. `look` finds its state once the steps in `needs` are done; `do` runs or resumes it."""

    name: str
    needs: tuple[str, ...]
    look: Callable[[Work], StepState]
    do: Callable[[Work], Awaitable[None]]
