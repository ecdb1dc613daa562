"""`muser simulate`: the simulated endpoint as a standalone server."""

from pathlib import Path
from typing import Annotated, Any

from typer import BadParameter, Option

from ..printing.console import say

PORT = 8399
PASSING = 1 / 3


def simulate(
    port: Annotated[int, Option(min=0, max=65535, metavar="N", help="Port; 0 picks a free one.")] = PORT,
    latency: Annotated[float, Option(min=0, metavar="SECONDS", help="Delay per 100 tokens, in seconds.")] = 0.0,
    fault: Annotated[
        list[str] | None,
        Option(metavar="NAME=SHARE", help="Share of requests to answer with a fault: 429=0.1. Repeatable."),
    ] = None,
    passing: Annotated[
        float, Option(min=0, max=1, metavar="SHARE", help="Share of answers that a critic passes, from 0 to 1.")
    ] = PASSING,
    long: Annotated[bool, Option("--long", help="Give answers of 300 to 600 words, in Markdown.")] = False,
    seed: Annotated[int, Option(metavar="N", help="Seed of replies and faults.")] = 0,
    log: Annotated[str | None, Option(metavar="FILE", help="Append a JSON line per request to FILE.")] = None,
) -> None:
    """Serve a simulated endpoint: scripted replies, no model.

    A critic whose prompt contains the word "strict" passes only answers that already say all it asks for; one with the
    word "lenient" passes three quarters of all answers.
    """
    import asyncio

    manner = {"port": port, "latency": latency, "seed": seed, "passing": passing, "long": long}
    faults = dict(_fault(text) for text in fault or [])
    asyncio.run(_serve({**manner, "faults": faults, "log": Path(log) if log else None}))


def _fault(text: str) -> tuple[str, float]:
    name, _, share = text.partition("=")
    try:
        return name, float(share)
    except ValueError as error:
        raise BadParameter(f"{text!r} is not NAME=SHARE, for example 429=0.1") from error


async def _serve(options: dict[str, Any]) -> None:
    import asyncio
    import signal
    import sys

    from ...endpoints.simulated.server import simulated_endpoint

    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with simulated_endpoint(**options) as url:
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        say(f"simulated endpoint, model name: simulated. Try: muser init --endpoint {url}. Ctrl-C stops it.")
        await stop.wait()
