"""Ctrl-C and SIGTERM: the first signal waits for the work in flight, the second stops at once."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """Raised on the second signal: work in flight was cancelled."""


def run_stoppable(work: Callable[[asyncio.Event], Awaitable[T]], warn: Callable[[], None]) -> T:
    """Runs `work` on a new event loop. The first signal sets its event and calls `warn`, the second raises Stopped."""
    try:
        return asyncio.run(_watch(work, warn))
    except asyncio.CancelledError as error:
        raise Stopped from error


async def _watch(work: Callable[[asyncio.Event], Awaitable[T]], warn: Callable[[], None]) -> T:
    stop, task, loop = asyncio.Event(), asyncio.current_task(), asyncio.get_running_loop()

    def interrupt() -> None:
        # Cancelling reaches every await: requests are closed, and what was committed stays.
        if stop.is_set() and task is not None:
            task.cancel()
            return
        stop.set()
        warn()

    # A handler of signal.signal would run between two bytecodes and could not set an event of the loop safely
    # (docs.python.org/3/library/asyncio-eventloop.html#unix-signals).
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    return await work(stop)
