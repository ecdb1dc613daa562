"""Ctrl-C and SIGTERM: the first lets what is in flight end, the second stops at once."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """The second signal came: nothing was waited for."""


def run_stoppable(work: Callable[[asyncio.Event], Awaitable[T]], warn: Callable[[], None]) -> T:
    """Runs `work` on a new event loop. The first signal sets its event and calls `warn`; the second raises Stopped."""
    try:
        return asyncio.run(_watch(work, warn))
    except asyncio.CancelledError as error:
        raise Stopped from error


async def _watch(work: Callable[[asyncio.Event], Awaitable[T]], warn: Callable[[], None]) -> T:
    stop, task, loop = asyncio.Event(), asyncio.current_task(), asyncio.get_running_loop()

    def interrupt() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
            return
        stop.set()
        warn()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    return await work(stop)
