"""One worker process of a run, `python -m muser.graph.worker`; worker_pool.py documents its input and output."""

import asyncio
import json
import os
import signal
import sys
import threading
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import Any, TextIO

from ..core.errors import InputError, MuserError
from ..core.recipe import ModelSettings, Recipe
from ..store.file.database import Store
from ..store.records.runs import find_run
from .progress import Progress, Summary
from .run import Materials, build_job
from .runner import Job, run_job
from .worker_pool import EVERY


def main() -> int:
    """Reads a task, runs it and reports how it ended. The exit code is 0 if the run ended without a MuserError."""
    # Redirect stdout to stderr, so that what imported critics print is not read as a report.
    reports = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # For imported critics in the current folder, after all other places: -P left it out (worker_pool.COMMAND).
    sys.path.append(str(Path.cwd()))
    # Unbuffered: a thread will block in readline(), and at exit Python could not take the lock of a buffered stdin.
    orders = FileIO(sys.stdin.fileno(), closefd=False)
    task = json.loads(orders.readline())
    try:
        with Store.open(task["store"], create=False) as store:
            summary = asyncio.run(_work(store, task, orders, reports))
    except MuserError as error:
        told = {"kind": type(error).__name__, "what": error.what, "where": error.where, "todo": error.todo}
        _report(reports, error=told)
        return 1
    told_at_end = ("stopped_by", "stop_cause", "concurrency", "limited_by", "prefix_cache")
    _report(reports, ended={name: getattr(summary, name) for name in told_at_end})
    return 0


async def _work(store: Store, task: dict[str, Any], orders: FileIO, reports: TextIO) -> Summary:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    # A signal from outside, such as a scheduler's SIGTERM, is a clean stop; Ctrl-C reaches only the pool (worker_pool).
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    threading.Thread(target=_obey, args=(orders, loop, stop), daemon=True).start()
    seen: list[Progress] = []

    def note(progress: Progress) -> None:
        seen[:] = [progress]

    reporting = asyncio.create_task(_report_often(seen, reports))
    try:
        return await run_job(store, _job(store, task), on_progress=note, stop=stop)
    finally:
        reporting.cancel()
        for progress in seen:
            _report(reports, counted=progress.counted())


def _job(store: Store, task: dict[str, Any]) -> Job:
    recipe = Recipe(**task["recipe"], folder=Path(task["folder"]))
    run = find_run(store, task["run"])
    if run is None:
        raise InputError(f"run {task['run']} no longer exists", where=str(store.path))
    models = {name: ModelSettings(**settings) for name, settings in task["models"].items()}
    materials = Materials.load(recipe, own_inputs=False)
    job = build_job(recipe, run, materials, task["roles"], models, task["revisions"])
    return replace(job, join=True, simulated=task["simulated"])


def _obey(orders: FileIO, loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Stops at the next line, which is `stop`, or at the end of the input, which means that the pool has exited."""
    orders.readline()
    loop.call_soon_threadsafe(stop.set)


async def _report_often(seen: list[Progress], reports: TextIO) -> None:
    while True:
        await asyncio.sleep(EVERY)
        for progress in seen:
            _report(reports, counted=progress.counted())


def _report(reports: TextIO, **said: Any) -> None:
    try:
        reports.write(json.dumps(said) + "\n")
        reports.flush()
    except BrokenPipeError:
        # The pool has exited. Samples in flight finish anyway.
        return


if __name__ == "__main__":
    sys.exit(main())
