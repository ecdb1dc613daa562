"""`muser simulate`: the simulated endpoint as a server of its own."""

from pathlib import Path
from typing import Annotated, Any

from typer import BadParameter, Option

from ..printing.console import say

PORT = 8399
PASSING = 1 / 3


def simulate(
    port: Annotated[int, Option(min=0, max=65535, metavar="N", help="0 takes a free one.")] = PORT,
    latency: Annotated[float, Option(min=0, metavar="SECONDS", help="Seconds that 100 tokens take.")] = 0.0,
    fault: Annotated[
        list[str] | None, Option(metavar="NAME=SHARE", help="Get this share of requests wrong, for example 429=0.1.")
    ] = None,
    passing: Annotated[
        float, Option(min=0, max=1, metavar="SHARE", help="The share of answers that a critic passes.")
    ] = PASSING,
    long: Annotated[bool, Option("--long", help="Answers of 300 to 600 words, in Markdown.")] = False,
    seed: Annotated[int, Option(metavar="N", help="Decides replies and faults.")] = 0,
    log: Annotated[str | None, Option(metavar="FILE", help="Append a JSON line for each request.")] = None,
) -> None:
    """Serve a simulated endpoint: scripted replies, no model.

    A critic whose prompt has the word strict passes only an answer that says all it asks for already, one with the
    word lenient three quarters of all.
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
        raise BadParameter(f"{text!r} does not read NAME=SHARE, for example 429=0.1") from error


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
        say(f"simulated endpoint, model name: simulated. Try: muser init --endpoint {url}. Ctrl-C ends it.")
        await stop.wait()
