"""A run's progress while it runs, and its summary at the end."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ..core.types import Usage
from ..store.records.ledger import RoleUsage
from ..store.records.rejections import ScreenTally
from ..store.records.runs import RunKind
from ..store.records.samples import Failure
from .verdicts import CriticTally

StoppedBy = Literal["", "tokens", "hours", "interrupt", "endpoint", "calls", "bug", "killed"]

Limiter = Literal["samples", "client", "queue", "kv", "latency", "concurrency", "unknown"]
"""What kept a run from being faster. `unknown`: fixed concurrency, and a server without metrics."""


@dataclass
class Progress:
    """A run's counters, updated in place; displays read them at any time.

    `done`, `failed` and `total` cover the whole run, tokens and calls this command, `in_flight` the present moment;
    `nodes` counts the calls in progress by node. `items` and `graded` are rubric items of the whole evaluation;
    `graded_before` were graded when this command began.
    """

    run_id: str
    total: int = 0
    done: int = 0
    failed: int = 0
    rejected: int = 0
    in_flight: int = 0
    nodes: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    reused: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    call_seconds: float = 0.0
    ended_here: int = 0
    items: int = 0
    graded: int = 0
    graded_before: int = 0
    started: float = field(default_factory=time.monotonic)

    def counted(self) -> dict[str, Any]:
        """The counters of this process, as JSON values: all except those of the whole run, which the store has."""
        apart = {"run_id", "total", "done", "failed", "rejected", "items", "graded", "graded_before", "started"}
        return {name: value for name, value in vars(self).items() if name not in apart}

    def add_up(self, counted: Iterable[Mapping[str, Any]]) -> None:
        """Sets these counters to the sums over several processes."""
        parts = list(counted)
        for name in self.counted():
            if name != "nodes":
                setattr(self, name, sum(part[name] for part in parts))
        self.nodes = sum((Counter(part["nodes"]) for part in parts), Counter())

    @contextmanager
    def calling(self, node: str) -> Iterator[None]:
        """Counts a call as in progress at its node."""
        self.nodes[node] += 1
        try:
            yield
        finally:
            self.nodes[node] -= 1

    def count(self, usage: Usage, seconds: float = 0.0) -> None:
        """Adds a finished call and its duration."""
        self.calls += 1
        self.call_seconds += seconds
        self.tokens_in += usage.tokens_in
        self.tokens_out += usage.tokens_out
        self.tokens_cached += usage.tokens_cached

    @property
    def elapsed(self) -> float:
        """Seconds since this command began."""
        return time.monotonic() - self.started

    @property
    def tokens_per_second(self) -> float:
        """Completion tokens per second, over this command."""
        return self.tokens_out / self.elapsed if self.elapsed else 0.0

    @property
    def samples_per_minute(self) -> float:
        """Samples ended per minute, over this command."""
        return 60 * self.ended_here / self.elapsed if self.elapsed else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds until the last sample ends at the current rate; None before the first has ended.

        In an evaluation, until the last item is graded: a long rubric is most of an example's time.
        """
        left, ended = self.total - self.done - self.failed, self.ended_here
        if self.items:
            left, ended = max(self.items - self.graded, 0), self.graded - self.graded_before
        return left * self.elapsed / ended if ended else None


@dataclass(frozen=True)
class Summary:
    """A run's state after a command: what ended, what failed and why, and what each role used."""

    run_id: str
    """the run's name, as `muser runs` lists it"""
    total: int
    """samples of the run, without the rejected ones"""
    done: int
    """samples that are finished"""
    failed: int
    """samples that failed"""
    pending: int
    """samples that are not done yet; rerun the command to resume them"""
    seconds: float
    """seconds that this command took"""
    rejected: int = 0
    """samples that a screen rejected in every draw; others replace simulated ones"""
    short: int = 0
    """wanted samples that are missing although three times as many were drawn: the screens rejected too many"""
    screens: tuple[ScreenTally, ...] = ()
    """how many draws each screen rejected, most first"""
    kind: RunKind = "samples"
    """evaluation: its samples are a benchmark's examples"""
    items: int = 0
    """rubric items of finished samples"""
    unjudged: int = 0
    """rubric items of finished samples that have no verdict"""
    stopped_by: StoppedBy = ""
    """what ended the run early; empty if nothing did"""
    stop_cause: str = ""
    """the same as a message"""
    failures: tuple[Failure, ...] = ()
    """failed samples, grouped by cause and node"""
    usage: tuple[RoleUsage, ...] = ()
    """calls, tokens and seconds by role"""
    critics: tuple[CriticTally, ...] = ()
    """what each critic decided, in the recipe's order"""
    reused_from: Mapping[str, int] = field(default_factory=dict)
    """run → how many of its calls this run reused"""
    concurrency: int = 0
    """the limit on samples in flight at the end"""
    limited_by: Mapping[Limiter, float] = field(default_factory=dict)
    """seconds of this command under each limiter, the longest first; empty if the command was too short to measure"""
    prefix_cache: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """by address, the prompt tokens that the server looked up in its prefix cache and found, for all its clients"""

    simulated: bool = False
    """whether the simulated endpoint answered any of its calls"""
    killed: int = 0
    """worker processes that were killed or crashed; other workers resumed their samples, or these are pending"""

    def to_dict(self) -> dict[str, Any]:
        """The summary as JSON values."""
        plain = {
            key: value for key, value in vars(self).items() if key not in ("failures", "usage", "critics", "screens")
        }
        return plain | {
            "failures": [asdict(failure) for failure in self.failures],
            "usage": [usage.model_dump(mode="json") for usage in self.usage],
            "critics": [asdict(critic) for critic in self.critics],
            "screens": [one.model_dump() for one in self.screens],
        }
