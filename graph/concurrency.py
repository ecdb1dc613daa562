"""How many samples may be in flight: from what the servers say of their queues, else from latency against throughput.

vLLM never answers 429: it queues without a word, and more samples in flight then only make each of them slower. Every
`WINDOW` the run is read, and `adjust` says what limited it and, under `concurrency: auto`, how many may follow:

| what is read | the run's limit | samples in flight |
|---|---|---|
| fewer in flight than allowed | too few samples | as before |
| under half of them have a call under way | muser itself | as before |
| more requests wait than a tenth of those that run | the queue, or a full KV cache | what runs and a tenth |
| some wait, or the KV cache is full | the same | as before |
| nobody waits | concurrency | doubled until a server was the limit once, then a tenth more |

A server that keeps no metrics is judged by what more in flight brought since the window before: no throughput for the
latency that it cost means that the endpoint is at its limit. Then the step is taken back, and tried again later.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ..core.recipe import Recipe
from ..endpoints.client.chat import Endpoint
from ..endpoints.client.metrics import Load
from .progress import Limiter, Progress

POLL = 0.5  # seconds between looks at the servers
WINDOW = 5.0  # seconds that are judged as one
START = 16  # samples in flight under auto, to begin with
QUEUE = 0.1  # requests that may wait, as a part of those that run: enough that no step of the server is idle
FULL = 0.9  # the part of the KV cache above which vLLM soon waits for memory or preempts
WORTH = 0.3  # throughput that more in flight has to bring, as a part of the growth
NOISE = 0.15  # by which the throughput of two windows differs for no reason
REST = 6  # windows between two trials of a limit that latency set


@dataclass(frozen=True)
class Reading:
    """What was seen in one window; counts of samples and requests are means over it."""

    seconds: float
    in_flight: float
    under_way: float
    """calls of ours that the servers have"""
    calls: int
    """that came back"""
    call_seconds: float
    """that those took, together"""
    tokens: int
    """completion tokens of those"""
    loads: tuple[Load, ...] = ()
    """of each server that says; none: nobody does"""

    @property
    def rate(self) -> float:
        """Completion tokens a second."""
        return self.tokens / self.seconds

    @property
    def token_seconds(self) -> float:
        """What a completion token takes on its call's way: latency, whatever the length of the replies."""
        return self.call_seconds / max(self.tokens, 1)


@dataclass(frozen=True)
class ConcurrencyLimit:
    """How many samples may be in flight, and what the last window told."""

    limit: int
    fixed: bool = False
    ceiling: int = START
    limiter: Limiter = "concurrency"
    doubling: bool = True
    before: Reading | None = None
    """the window that a trial of more is judged against"""
    tried_from: int = 0
    """the limit to go back to if the trial brings nothing"""
    rest: int = 0


def adjust(limits: ConcurrencyLimit, reading: Reading) -> ConcurrencyLimit:
    """The limit after a window; a pure function that implements the table above."""
    full = reading.in_flight >= 0.9 * limits.limit
    if not full:
        # Nothing was tried, so nothing can be judged; the next full window starts over.
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
    """What a server that is at its limit allows, and why; None where it has room."""
    reason: Limiter = "kv" if load.kv_used >= FULL else "queue"
    if load.waiting > max(1.0, QUEUE * load.running):
        share = (1 + QUEUE) * load.running / (load.running + load.waiting)
        return max(1, int(limit * max(share, 0.5))), reason
    return (limit, reason) if load.waiting > 0.5 or load.kv_used >= FULL else None


def _by_latency(limits: ConcurrencyLimit, reading: Reading) -> ConcurrencyLimit:
    if limits.fixed:
        return replace(limits, limiter="unknown")
    if limits.before is not None and _brought_nothing(limits.before, reading):
        # Below where the trial began: noise lets some trials pass that should not, and this makes up for them.
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
    """Did latency rise without throughput?"""
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
    """Measures a run window by window and adjusts its limit; `spent` is limiter → seconds."""

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
        """Calls `follow` with the limit after every window, until it is cancelled."""
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
        """Latency needs calls to be judged by: two for each sample in flight, begun and ended at this limit."""
        return seconds >= self._window and (told or self.current.fixed or calls >= 2 * self._progress.in_flight)

    async def loads(self) -> dict[str, Load]:
        """What the servers say of themselves now, by address, since two models of a recipe may be at one server."""
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
