"""Runs several worker processes on one run: starts and stops them, and adds up their counters.

They share only the store. A sample belongs to the worker that claims it; if a worker is killed, its samples become
pending and another worker replaces it. A worker (worker.py) reads its task from stdin as one JSON object, then `stop`;
it reports progress on stdout, one JSON object per line. If the pool exits, even by SIGKILL, the kernel closes the pipe
to the worker's stdin, and the worker stops too.

"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from ..core import errors
from ..core.errors import MuserError
from ..core.recipe import Recipe
from ..store.file.database import Store
from ..store.records.workers import at_work
from .progress import Progress, StoppedBy, Summary
from .runner import Job, OnProgress, count_samples, prepare, summarize

REPLACEMENTS = 3  # successive replacements for a killed worker; what killed four would kill a fifth
EVERY = 0.5  # seconds between reports of a worker
LONGEST = 2**20  # bytes in a line; asyncio's default is 64 KiB, and an error may quote more
# -P keeps the current folder from shadowing the standard library.
COMMAND = (sys.executable, "-P", "-m", "muser.graph.worker")


@dataclass
class _Worker:
    """A worker as the pool sees it: what it has reported so far."""

    process: asyncio.subprocess.Process
    counted: dict[str, Any] = field(default_factory=dict)
    ended: dict[str, Any] | None = None
    error: MuserError | None = None

    @property
    def was_killed(self) -> bool:
        """Did a signal end it before it reported? A worker that crashed is not replaced: it would crash again."""
        return not self.ended and not self.error and (self.process.returncode or 0) < 0


async def run_worker_pool(
    store: Store, job: Job, size: int, *, on_progress: OnProgress | None = None, stop: asyncio.Event | None = None
) -> Summary:
    """`run_job` with `size` processes, which share the job's concurrency.

    Cancelling it kills them; no finished call is lost.
    """
    progress = Progress(job.run.id)
    with at_work(store, job.run.id, join=True):
        await asyncio.to_thread(prepare, store, job)
        lines = [_describe(store, job, recipe) for recipe in share_recipe(job.recipe, size)]
        async with _ended_with_us() as workers:
            await _follow(store, workers, lines, progress, on_progress, stop or asyncio.Event())
    for worker in workers:
        if worker.error:
            raise worker.error
    ends = [worker.ended for worker in workers if worker.ended]
    killed = len(workers) - len(ends)
    said: list[tuple[StoppedBy, str]] = [(end["stopped_by"], end["stop_cause"]) for end in ends if end["stopped_by"]]
    if killed == len(workers):
        said = [("killed", f"no worker process is left; {killed} were killed or crashed")]
    stopped_by, cause = said[0] if said else ("", "")
    return summarize(
        store,
        job,
        progress,
        stopped_by=stopped_by,
        stop_cause=cause,
        concurrency=sum(end["concurrency"] for end in ends),
        limited_by=sum((Counter(end["limited_by"]) for end in ends), Counter()),
        prefix_cache=_widest([end["prefix_cache"] for end in ends]),
        killed=killed,
    )


def _widest(caches: list[dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    """Each server's counts from the worker that saw the most: the server counts the requests of all workers."""
    counts = sorted((item for cache in caches for item in cache.items()), key=lambda item: item[1]["queries"])
    return dict(counts)


def share_recipe(recipe: Recipe, size: int) -> list[Recipe]:
    """The recipe for each worker: concurrency is divided, and every worker gets at least one sample in flight."""
    auto = recipe.concurrency == "auto"
    whole = recipe.max_concurrency if recipe.concurrency == "auto" else recipe.concurrency
    size = min(size, whole)
    parts = [whole // size + (number < whole % size) for number in range(size)]
    key = "max_concurrency" if auto else "concurrency"
    return [recipe.model_copy(update={key: part}) for part in parts]


def _describe(store: Store, job: Job, recipe: Recipe) -> str:
    """The line that tells a worker what to do."""
    return json.dumps(
        {
            "store": str(store.path.absolute()),
            "run": job.run.id,
            "recipe": recipe.model_dump(mode="json"),
            "folder": str(recipe.folder.absolute()),
            "roles": job.roles,
            "simulated": job.simulated,
            "models": {name: model.model_dump(mode="json") for name, model in job.models.items()},
            "revisions": dict(job.revisions),
        }
    )


@asynccontextmanager
async def _ended_with_us() -> AsyncIterator[list[_Worker]]:
    """The workers started inside the block; those still running at its end are killed."""

    workers: list[_Worker] = []
    try:
        yield workers
    finally:
        for worker in workers:
            if worker.process.returncode is None:
                worker.process.kill()
        await asyncio.gather(*(worker.process.wait() for worker in workers))


async def _follow(
    store: Store,
    workers: list[_Worker],
    lines: list[str],
    progress: Progress,
    on_progress: OnProgress | None,
    stop: asyncio.Event,
) -> None:
    """Until the last worker has ended, forwards a stop and keeps the progress at the sum of all workers."""
    places = [asyncio.create_task(_fill_place(line, workers, stop)) for line in lines]
    stopping = asyncio.create_task(_pass_on(stop, workers))
    try:
        under_way = set(places)
        while under_way:
            count_samples(store, progress)
            progress.add_up(worker.counted for worker in workers if worker.counted)
            if on_progress:
                on_progress(progress)
            _, under_way = await asyncio.wait(under_way, timeout=EVERY)
        await asyncio.gather(*places)
    finally:
        for task in (*places, stopping):
            task.cancel()
    count_samples(store, progress)


async def _fill_place(line: str, workers: list[_Worker], stop: asyncio.Event) -> None:
    """Starts a worker for this task; replaces it if it is killed, unless the run is stopping."""
    pipe = asyncio.subprocess.PIPE
    for _ in range(1 + REPLACEMENTS):
        # A separate session, so that Ctrl-C reaches only the pool, which then tells its workers to stop.
        process = await asyncio.create_subprocess_exec(
            *COMMAND, stdin=pipe, stdout=pipe, start_new_session=True, limit=LONGEST
        )
        worker = _Worker(process)
        workers.append(worker)
        await _say(process, line)
        await _listen(worker, stop)
        if stop.is_set() or not worker.was_killed:
            return


async def _listen(worker: _Worker, stop: asyncio.Event) -> None:
    """Reads a worker's reports until it ends; an error in one worker stops them all."""
    while worker.process.stdout and (line := await worker.process.stdout.readline()):
        # A kill may cut the last line.
        with suppress(ValueError):
            said = json.loads(line)
            worker.counted = said.get("counted", worker.counted)
            worker.ended = said.get("ended")
            if "error" in said:
                worker.error = _error(**said["error"])
                stop.set()
    worker.counted |= {"in_flight": 0, "nodes": {}} if worker.counted else {}
    await worker.process.wait()


async def _pass_on(stop: asyncio.Event, workers: list[_Worker]) -> None:
    await stop.wait()
    for worker in workers:
        await _say(worker.process, "stop")


async def _say(process: asyncio.subprocess.Process, line: str) -> None:
    # The worker may have ended already.
    with suppress(ConnectionError):
        if process.stdin:
            process.stdin.write(f"{line}\n".encode())
            await process.stdin.drain()


def _error(kind: str, what: str, where: str, todo: str) -> MuserError:
    found = getattr(errors, kind, MuserError)
    error: MuserError = found(what, where=where, todo=todo)
    return error
