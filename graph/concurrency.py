"""Controls how many samples are in flight: by the servers' queue metrics, else by latency and throughput.

vLLM never answers 429: it queues requests, and more samples in flight then only make each of them slower. The
controller measures the run in windows of `WINDOW` seconds. `adjust` names what limited the run in the last window and,
with `concurrency: auto`, sets the number of samples for the next one:

| measured | limited by | samples in flight |
|---|---|---|
| fewer in flight than allowed | too few samples | unchanged |
| under half of them have a call in progress | muser itself | unchanged |
| more than a tenth as many requests wait as run | the queue, or a full KV cache | the running ones plus a tenth |
| some requests wait, or the KV cache is full | the same | unchanged |
| no requests wait | concurrency | doubled until a server has been the limit once, then a tenth more |

A server without metrics is judged by the effect of the last increase: if latency rose without a gain in throughput, the
endpoint is at its limit. Then the increase is undone, and tried again later.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ..core.recipe import Recipe
from ..endpoints.client.chat import Endpoint
from ..endpoints.client.metrics import Load
from .progress import Limiter, Progress

POLL = 0.5  # seconds between reads of the servers' metrics
WINDOW = 5.0  # seconds that are measured as one
START = 16  # samples in flight at the start of auto
QUEUE = 0.1  # waiting requests, relative to running ones, so that a request that ends is replaced at once
FULL = 0.9  # share of the KV cache in use; when it is full, vLLM queues or preempts requests
WORTH = 0.3  # throughput that an increase must gain, relative to the increase
NOISE = 0.15  # relative difference of two windows' throughput that means nothing
REST = 6  # windows before an increase that brought nothing is tried again


@dataclass(frozen=True)
class Reading:
    """The measurements of one window; counts of samples and requests are means over it."""

    seconds: float
    in_flight: float
    under_way: float
    """calls in progress"""
    calls: int
    """calls that finished"""
    call_seconds: float
    """their durations, added up"""
    tokens: int
    """their completion tokens"""
    loads: tuple[Load, ...] = ()
    """of each server with metrics"""

    @property
    def rate(self) -> float:
        """Completion tokens per second."""
        return self.tokens / self.seconds

    @property
    def token_seconds(self) -> float:
        """Seconds per completion token: a latency that does not depend on the length of replies."""
        return self.call_seconds / max(self.tokens, 1)


@dataclass(frozen=True)
class ConcurrencyLimit:
    """How many samples may be in flight, and what the last window showed."""

    limit: int
    fixed: bool = False
    ceiling: int = START
    limiter: Limiter = "concurrency"
    doubling: bool = True
    before: Reading | None = None
    """the window before the last increase, to compare with"""
    tried_from: int = 0
    """the limit to return to if the increase brought nothing"""
    rest: int = 0


def adjust(limits: ConcurrencyLimit, reading: Reading) -> ConcurrencyLimit:
    """The limit after a window; a pure function that implements the table above."""
    full = reading.in_flight >= 0.9 * limits.limit
    if not full:
        # The limit was not reached, so its effect cannot be judged.
        return replace(limits, limiter="samples", before=None)
    if reading.under_way < 0.5 * reading.in_flight:
        return replace(limits, limiter="client", before=None)
    by_load = _by_load(limits, reading.loads) if reading.loads else _by_latency(limits, reading)
    return replace(by_load, limit=limits.limit) if limits.fixed else by_load


def _by_load(limits: ConcurrencyLimit, loads: Iterable[Load]) -> ConcurrencyLimit:
    crowded = [found for load in loads if (found := _crowded(limits.limit, load))]
    if not crowded:
        return replace(limits, limit=_grown(limits, limits.limit // 10), limiter="concurrency")
    limit, limiter = min(crowded)
    return replace(limits, limit=limit, limiter=limiter, doubling=False)


def _crowded(limit: int, load: Load) -> tuple[int, Limiter] | None:
    """The limit that a server at its limit allows, and why; None if the server has room."""
    reason: Limiter = "kv" if load.kv_used >= FULL else "queue"
    if load.waiting > max(1.0, QUEUE * load.running):
        # At most halved, because a single window may be unusual.
        share = (1 + QUEUE) * load.running / (load.running + load.waiting)
        return max(1, int(limit * max(share, 0.5))), reason
    return (limit, reason) if load.waiting > 0.5 or load.kv_used >= FULL else None


def _by_latency(limits: ConcurrencyLimit, reading: Reading) -> ConcurrencyLimit:
    if limits.fixed:
        return replace(limits, limiter="unknown")
    if limits.before is not None and _brought_nothing(limits.before, reading):
        # Lower than before the increase: noise lets some increases pass that brought nothing, and this corrects them.
        back = limits.tried_from if limits.doubling else int(0.9 * (limits.tried_from or limits.limit))
        return replace(limits, limit=max(1, back), limiter="latency", doubling=False, before=None, rest=REST)
    if limits.rest:
        return replace(limits, limiter="latency", before=reading, tried_from=0, rest=limits.rest - 1)
    return replace(
        limits,
        limit=_grown(limits, -(-limits.limit // 4)),
        limiter="concurrency",
        before=reading,
        tried_from=limits.limit,
    )


def _brought_nothing(before: Reading, after: Reading) -> bool:
    """Did latency rise without a gain in throughput?"""
    if not before.rate or not before.token_seconds:
        return False
    more = max(after.in_flight / max(before.in_flight, 1.0), 1.0)
    gain, slower = after.rate / before.rate, after.token_seconds / before.token_seconds
    needed = 1 + WORTH * (more - 1) if more > 1 + NOISE else 1 - NOISE
    return gain < needed and slower > 1 + NOISE


def _grown(limits: ConcurrencyLimit, step: int) -> int:
    step = limits.limit if limits.doubling else max(1, step)
    return max(limits.limit, min(limits.limit + step, limits.ceiling))


class ConcurrencyController:
    """Measures a run window by window and adjusts its limit; `spent` maps each limiter to its seconds."""

    def __init__(
        self,
        recipe: Recipe,
        endpoints: Iterable[Endpoint],
        progress: Progress,
        *,
        window: float | None = None,
    ) -> None:
        fixed = recipe.concurrency != "auto"
        limit = min(START, recipe.max_concurrency) if recipe.concurrency == "auto" else recipe.concurrency
        self.current = ConcurrencyLimit(limit, fixed=fixed, ceiling=recipe.max_concurrency)
        self.spent: dict[Limiter, float] = {}
        self._progress, self._window = progress, window or WINDOW
        self._servers = list(endpoints)

    async def watch(self, follow: Callable[[int], None]) -> None:
        """Calls `follow` with the limit after every window, until cancelled."""
        while True:
            reading = await self._read()
            self.current = adjust(self.current, reading)
            self.spent[self.current.limiter] = self.spent.get(self.current.limiter, 0.0) + reading.seconds
            follow(self.current.limit)

    async def _read(self) -> Reading:
        progress, clock = self._progress, asyncio.get_running_loop().time
        began = clock()
        calls, seconds, tokens = progress.calls, progress.call_seconds, progress.tokens_out
        seen: list[tuple[int, int]] = []
        loads: dict[str, list[Load]] = {}
        while not self._is_over(clock() - began, progress.calls - calls, bool(loads)):
            await asyncio.sleep(min(POLL, self._window / 4))
            seen.append((progress.in_flight, progress.nodes.total()))
            for address, load in (await self.loads()).items():
                loads.setdefault(address, []).append(load)
        return Reading(
            seconds=clock() - began,
            in_flight=sum(samples for samples, _ in seen) / len(seen),
            under_way=sum(under_way for _, under_way in seen) / len(seen),
            calls=progress.calls - calls,
            call_seconds=progress.call_seconds - seconds,
            tokens=progress.tokens_out - tokens,
            loads=tuple(_mean(each) for each in loads.values()),
        )

    def _is_over(self, seconds: float, calls: int, told: bool) -> bool:
        """A window without metrics also needs calls to measure: two per sample in flight, as the first began before."""
        return seconds >= self._window and (told or self.current.fixed or calls >= 2 * self._progress.in_flight)

    async def loads(self) -> dict[str, Load]:
        """The servers' current load, by address: two models of a recipe may share a server."""
        answers = await asyncio.gather(*(server.loads() for server in self._servers))
        # Stop polling servers that have no metrics.
        self._servers = [s for s, told in zip(self._servers, answers, strict=True) if told or s.keeps_metrics]
        return {address: load for told in answers for address, load in told.items()}


def _mean(loads: list[Load]) -> Load:
    def mean(values: Iterable[float]) -> float:
        return sum(values) / len(loads)

    return Load(
        running=mean(each.running for each in loads),
        waiting=mean(each.waiting for each in loads),
        kv_used=mean(each.kv_used for each in loads),
    )
