"""Runs many samples through the state machine: concurrency, limits, clean stops, and resuming unfinished samples."""

import asyncio
import gc
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import StateGraph

from ..core.errors import (
    CallLimit,
    EndpointError,
    EndpointUnreachable,
    MachineError,
    MuserError,
    Rejected,
    StoreError,
)
from ..core.recipe import Limits, ModelSettings, Recipe
from ..core.types import Persona, SampleInput, SampleStatus
from ..endpoints.client.chat import Endpoint, open_endpoints
from ..endpoints.client.metrics import prefix_cache
from ..store.file.database import Store
from ..store.records import ledger, rejections, runs, samples
from ..store.records.checkpoints import Checkpointer, open_checkpointer
from ..store.records.workers import abandoned, at_work, release_samples
from .bugs import log_bug
from .calls import Calls
from .concurrency import ConcurrencyController
from .identity import note_servers
from .progress import Limiter, Progress, StoppedBy, Summary
from .state import initial_state
from .tracing import exported_spans
from .verdicts import tally_critics

FAN_OUT = 8  # nodes of one sample running at once; LangGraph's default is no limit
SAME_FAULT = 20  # samples in a row that end in an endpoint error or a bug before the run stops
MOST_NUMBERS = 3  # simulated samples, rejected ones included, as a multiple of the wanted ones
WAIT = 0.5  # seconds between checks on the last samples, while other workers run them

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Job:
    """One run to finish: its state machine, the context of its nodes, and the roles of the recipe that they call.

    `inputs` are added first, and with `retry` the failed samples are reset. With `join`, other processes may work on
    the run too. `most_calls` limits the calls. `items` is the number of rubric items in an evaluation. `redraw` gives
    the persona of a sample's next draw, `replacement` the sample of a number; `simulated` samples must not be rejected.
    """

    run: runs.Run
    recipe: Recipe
    machine: StateGraph[Any, Any]
    context: Callable[[Calls], Any]
    roles: tuple[str, ...]
    models: Mapping[str, ModelSettings]
    revisions: Mapping[str, str] = field(default_factory=dict)
    inputs: Iterable[SampleInput] = ()
    retry: bool = False
    join: bool = False
    most_calls: int | None = None
    items: int = 0
    redraw: Callable[[samples.Trace], Persona | None] = lambda _: None
    replacement: Callable[[int], SampleInput] | None = None
    simulated: int = 0


async def run_job(
    store: Store, job: Job, *, on_progress: OnProgress | None = None, stop: asyncio.Event | None = None
) -> Summary:
    """Runs every unfinished sample. Setting `stop` lets samples in flight finish and starts no others.

    Raises RunBusy if another process works on the run and the job does not join it.
    """
    needed = {job.recipe.role(role).model for role in job.roles}
    models = {name: settings for name, settings in job.models.items() if name in needed}
    with at_work(store, job.run.id, join=job.join) as worker, collecting_rarely():
        await asyncio.to_thread(prepare, store, job)
        opening = open_endpoints(models, langsmith=job.recipe.langsmith)
        async with opening as endpoints, open_checkpointer(store) as saver:
            # Before any sample is claimed, so that a dead endpoint or a wrong model name costs nothing.
            await asyncio.gather(*(endpoint.check() for endpoint in endpoints.values()))
            told = {name: endpoint.servers for name, endpoint in endpoints.items()}
            await asyncio.to_thread(note_servers, store, job.run.id, told)
            running = _Running(store, job, worker, endpoints, saver, on_progress, stop or asyncio.Event())
            async with exported_spans(job.recipe.otel, job.run.id):
                before = await running.controller.loads()
                summary = await running.to_the_end()
                return replace(summary, prefix_cache=prefix_cache(before, await running.controller.loads()))


@contextmanager
def collecting_rarely() -> Iterator[None]:
    """Runs the garbage collector less often: by default it runs every 700 new objects, about once per call.

    Hardly any of these objects are in cycles. docs/performance.md has the measured cost.
    """
    before = gc.get_threshold()
    # freeze() exempts the modules loaded so far from every collection (docs.python.org/3/library/gc.html).
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def prepare(store: Store, job: Job) -> None:
    """Adds new samples and, if the job retries, resets failed ones, before any sample is claimed."""
    samples.add_samples(store, job.run.id, job.inputs, job.recipe.seed)
    if job.retry:
        samples.retry_samples(store, job.run.id)


def count_samples(store: Store, progress: Progress) -> dict[SampleStatus, int]:
    """Updates the progress with the samples that all workers of the run have finished."""
    counts = samples.counts(store, progress.run_id)
    progress.total = sum(counts.values()) - counts["rejected"]
    progress.done, progress.failed, progress.rejected = counts["done"], counts["failed"], counts["rejected"]
    return counts


def summarize(
    store: Store,
    job: Job,
    progress: Progress,
    *,
    stopped_by: StoppedBy,
    limited_by: Mapping[Limiter, float],
    **more: Any,
) -> Summary:
    """The run's state now, with the work of all its processes."""
    counts, run = samples.counts(store, progress.run_id), runs.find_run(store, progress.run_id)
    items, unjudged = samples.count_items(store, progress.run_id)
    unfinished = counts["pending"] + counts["running"]
    return Summary(
        run_id=progress.run_id,
        kind=run.kind if run else "samples",
        total=sum(counts.values()) - counts["rejected"],
        done=counts["done"],
        failed=counts["failed"],
        rejected=counts["rejected"],
        short=0 if unfinished else max(job.simulated - rejections.count_kept(store, progress.run_id), 0),
        screens=rejections.tally_screens(store, progress.run_id),
        items=items,
        unjudged=unjudged,
        pending=unfinished,
        seconds=progress.elapsed,
        stopped_by=(stopped_by or "interrupt") if unfinished else "",
        failures=tuple(samples.failures(store, progress.run_id)),
        critics=tally_critics(store, progress.run_id),
        usage=(usage := tuple(ledger.usage_by_role(store, progress.run_id))),
        reused_from=ledger.reused_from(store, progress.run_id) if any(one.reused for one in usage) else {},
        limited_by=dict(sorted(limited_by.items(), key=lambda item: -item[1])),
        simulated=run is not None and run.simulated,
        **more,
    )


class _Running:
    """The state of one `run_job`."""

    def __init__(
        self,
        store: Store,
        job: Job,
        worker: str,
        endpoints: Mapping[str, Endpoint],
        saver: Checkpointer,
        on_progress: OnProgress | None,
        stop: asyncio.Event,
    ) -> None:
        self.store, self.job, self.worker, self.stop = store, job, worker, stop
        graded = samples.count_items(store, job.run.id)[0] if job.items else 0
        self.progress = Progress(job.run.id, items=job.items, graded=graded, graded_before=graded)
        self.on_progress = on_progress or (lambda _: None)
        self.calls = Calls(store, job.recipe, endpoints, job.revisions, self.progress, job.most_calls)
        self.context = job.context(self.calls)
        self.saver = saver
        self.app = job.machine.compile(checkpointer=saver)
        self.limits: Limits = job.recipe.limits
        self.stopped_by: StoppedBy = ""
        self.stop_cause = ""
        self.faults_in_a_row = 0
        self.controller = ConcurrencyController(job.recipe, endpoints.values(), self.progress)
        self.watching: asyncio.Task[None] | None = None
        self.slots = 0
        self.all_taken = False

    async def to_the_end(self) -> Summary:
        try:
            while await self._is_some_left():
                await self._take_all()
        except ExceptionGroup as group:
            # Tasks that meet the same fault, such as a full disk, all raise it: report the first.
            raise group.exceptions[0] from group
        self._count()
        return summarize(
            self.store,
            self.job,
            self.progress,
            stopped_by=self.stopped_by,
            stop_cause=self.stop_cause,
            concurrency=self.controller.current.limit,
            limited_by=self.controller.spent,
        )

    async def _is_some_left(self) -> bool:
        """Are there pending samples? Waits while other workers run the last ones, in case one of them is killed."""
        while True:
            await self._repair()
            counts = self._count()
            if not counts["pending"] + counts["running"] and not self._must_stop() and self._replace_rejected():
                counts = self._count()
            if not counts["pending"] + counts["running"] or self._must_stop():
                return False
            if counts["pending"]:
                return True
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), WAIT)

    def _replace_rejected(self) -> int:
        """Adds samples in place of rejected ones, up to MOST_NUMBERS; returns how many."""
        job = self.job
        if job.replacement is None or not job.simulated:
            return 0
        most = MOST_NUMBERS * job.simulated
        return rejections.replace_rejected(
            self.store, job.run.id, job.simulated, most, job.recipe.seed, job.replacement
        )

    async def _repair(self) -> None:
        """After a kill: samples with a final checkpoint become done without a call, the others pending again."""
        left = await asyncio.to_thread(abandoned, self.store, self.job.run.id)
        for sample_id in left:
            state = await self._state(sample_id)
            if state.get("done"):
                await self._record(sample_id, state, status="done")
        if left:
            await asyncio.to_thread(release_samples, self.store, self.job.run.id)

    def _count(self) -> dict[SampleStatus, int]:
        counts = count_samples(self.store, self.progress)
        self.on_progress(self.progress)
        return counts

    async def _take_all(self) -> None:
        self.all_taken = False
        # A TaskGroup: an error in one task cancels the others and is raised here; asyncio.gather would let them run on.
        async with asyncio.TaskGroup() as group:
            self._staff(group, self.controller.current.limit)
            self.watching = group.create_task(self.controller.watch(lambda limit: self._staff(group, limit)))
        await self.calls.settle()

    def _staff(self, group: asyncio.TaskGroup, limit: int) -> None:
        """Starts tasks up to the limit; tasks above it end after their current sample."""
        while self.slots < limit and not self.all_taken:
            self.slots += 1
            group.create_task(self._fill())

    async def _fill(self) -> None:
        """Runs one sample after another."""
        try:
            while self.slots <= self.controller.current.limit and not self._must_stop():
                taken = await samples.take_pending(self.store, self.job.run.id, 1, self.worker)
                if not taken:
                    self.all_taken = True
                    return
                await self._count_sample(taken[0])
        finally:
            self.slots -= 1
            if not self.slots and self.watching is not None:
                self.watching.cancel()

    async def _count_sample(self, trace: samples.Trace) -> None:
        self.progress.in_flight += 1
        try:
            taken: samples.Trace | None = trace
            while taken:
                taken = await self._run_sample(taken)
        finally:
            self.progress.in_flight -= 1
        self.on_progress(self.progress)

    def _must_stop(self) -> bool:
        limits, progress = self.limits, self.progress
        if self.stopped_by:
            return True
        if self.stop.is_set():
            self.stopped_by = "interrupt"
        elif limits.tokens is not None and (spent := ledger.tokens_spent(self.store, self.job.run.id)) >= limits.tokens:
            self.stopped_by, self.stop_cause = "tokens", f"{spent} tokens used of {limits.tokens}"
        elif limits.hours is not None and progress.elapsed >= limits.hours * 3600:
            self.stopped_by, self.stop_cause = "hours", f"{limits.hours} hours are over"
        return bool(self.stopped_by)

    async def _run_sample(self, trace: samples.Trace) -> samples.Trace | None:
        """Runs a sample; returns it with its next draw if a screen rejected this one."""
        if trace.overtaken:
            return await self._reject(trace, _overtaken(trace, trace.overtaken))
        config = _config(trace.id)
        # Persona, respond and two supersteps per round, with some to spare: a routing bug must end. LangGraph's default
        # is 10,007 (langgraph/_internal/_config.py).
        config["recursion_limit"] = 10 + 3 * self.job.recipe.rounds
        config["max_concurrency"] = FAN_OUT
        if trace.tries:
            self.calls.tries[trace.id] = trace.tries
        # None makes LangGraph resume from the thread's latest checkpoint; any other input would start the graph over.
        start = None if self.saver.last_id(trace.id) else initial_state(trace)
        try:
            # sync: a superstep starts only after the checkpoint before it is committed. The default, async, commits in
            # the background, and a kill may lose finished nodes (langgraph/types.py, Durability).

            await self._screen_brought(trace, start)
            state = await self.app.ainvoke(start, config, context=self.context, durability="sync")
            if not state.get("done"):
                raise MachineError("the graph ended before the sample was done", where=trace.id)
        except StoreError:
            # Not the sample's fault: samples in flight stay marked running and resume once the store works again.
            raise
        except CallLimit as error:
            self.stopped_by, self.stop_cause = "calls", error.what
            await self._record(trace.id, await self._state(trace.id), status="pending")
            return None
        except Rejected as rejected:
            return await self._reject(trace, rejected)
        except MuserError as error:
            await self._fail(trace.id, error, _node_that_raised(error))
            return None
        except Exception as error:  # noqa: BLE001 - a bug in one sample must not stop the others
            log = Path(self.job.recipe.output) / "logs" / "bugs.log"
            bug = await asyncio.to_thread(log_bug, log, trace.id, error)
            await self._fail(trace.id, bug, _node_that_raised(error))
            return None
        if not await self._record(trace.id, state, status="done"):
            # A lower sample drew the same query after this one did.
            overtaken = await asyncio.to_thread(samples.get_trace, self.store, trace.id)
            return await self._reject(trace, _overtaken(trace, overtaken.overtaken or "", state["query"]))
        self.faults_in_a_row = 0
        self.progress.done += 1
        self.progress.ended_here += 1
        return None

    async def _screen_brought(self, trace: samples.Trace, start: Mapping[str, Any] | None) -> None:
        """Screens a query of the user's before the first node; one that is resumed was screened."""
        screen = getattr(self.context, "screen", None)
        if screen and start is not None and _is_brought(trace):
            await screen("brought", start)

    async def _reject(self, trace: samples.Trace, rejected: Rejected) -> samples.Trace | None:
        persona = await asyncio.to_thread(self.job.redraw, trace)
        again = await rejections.reject(self.store, trace.id, rejected, persona)
        if persona is None:
            self.progress.rejected += 1
            return None
        return again

    async def _fail(self, sample_id: str, error: MuserError, node: str | None) -> None:
        state = await self._state(sample_id)
        if isinstance(error, EndpointError | MachineError):
            self.faults_in_a_row += 1
        if isinstance(error, EndpointUnreachable) or self.faults_in_a_row >= SAME_FAULT:
            # Not this sample's fault: it stays pending until the endpoint is back or the bug is fixed.
            cause: StoppedBy = "endpoint" if isinstance(error, EndpointError) else "bug"
            self.stopped_by, self.stop_cause = self.stopped_by or cause, str(error)
            await self._record(sample_id, state, status="pending")
            return
        await self._record(sample_id, state, status="failed", cause=error, failed_node=node)
        self.progress.failed += 1
        self.progress.ended_here += 1

    async def _state(self, sample_id: str) -> dict[str, Any]:
        """The state of an unfinished sample: its last checkpoint, plus the writes of nodes that finished after it."""
        values: dict[str, Any] = (await self.app.aget_state(_config(sample_id))).values
        return values

    async def _record(self, sample_id: str, state: Mapping[str, Any], **outcome: Any) -> bool:
        order = list(self.job.recipe.critics)
        # LangGraph applies parallel nodes' writes in the order of their names; readers expect the recipe's order.
        critiques = sorted(state.get("critiques", []), key=lambda c: (c["round"], order.index(c["critic"])))
        drop = self.job.recipe.history == "drop" and outcome["status"] == "done"
        return await samples.record_sample(
            self.store,
            sample_id,
            state={**state, "critiques": critiques},
            checkpoint_id=self.saver.last_id(sample_id),
            without_history=drop,
            **outcome,
        )


def _node_that_raised(error: BaseException) -> str | None:
    """The node in LangGraph's note on the exception (langgraph/pregel/_retry.py).

    The snapshot's tasks cannot tell: they also have the errors of cancelled siblings and of earlier tries.
    """
    found = re.search(r"During task with name '(.+?)' and id", "\n".join(getattr(error, "__notes__", ())))
    return found[1] if found else None


def _is_brought(trace: samples.Trace) -> bool:
    """Was the query in the user's file, and is this no fork or copy of a sample that was screened?"""
    return trace.query is not None and trace.origin is None


def _overtaken(trace: samples.Trace, overtaken: str, query: str = "") -> Rejected:
    screen, _, reason = overtaken.partition(": ")
    return Rejected(reason, screen=screen, stage="query", text=query or trace.query or "")


def _config(sample_id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": sample_id}}
