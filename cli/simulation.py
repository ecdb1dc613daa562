"""`muser simulate`: the simulated endpoint as a server of its own."""

from typing import Annotated

from typer import BadParameter, Option

from .console import say

PORT = 8399


def simulate(
    port: Annotated[int, Option(min=0, max=65535, metavar="N", help="0 takes a free one.")] = PORT,
    latency: Annotated[float, Option(min=0, metavar="SECONDS", help="Seconds that 100 tokens take.")] = 0.0,
    fault: Annotated[
        list[str] | None, Option(metavar="NAME=SHARE", help="Get this share of requests wrong, for example 429=0.1.")
    ] = None,
    seed: Annotated[int, Option(metavar="N", help="Decides replies and faults.")] = 0,
    log: Annotated[str | None, Option(metavar="FILE", help="Append a JSON line for each request.")] = None,
) -> None:
    """Serve a simulated endpoint: scripted replies, no model."""
    import asyncio

    faults = dict(_fault(text) for text in fault or [])
    asyncio.run(_serve(port, latency, faults, seed, log))


def _fault(text: str) -> tuple[str, float]:
    name, _, share = text.partition("=")
    try:
        return name, float(share)
    except ValueError as error:
        raise BadParameter(f"{text!r} does not read NAME=SHARE, for example 429=0.1") from error


async def _serve(port: int, latency: float, faults: dict[str, float], seed: int, log: str | None) -> None:
    import asyncio
    import signal
    import sys
    from pathlib import Path

    from ..endpoints.simulated import simulated_endpoint

    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    serving = simulated_endpoint(port=port, latency=latency, faults=faults, seed=seed, log=Path(log) if log else None)
    async with serving as url:
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        say(f"simulated endpoint, model name: simulated. Try: muser init --endpoint {url}. Ctrl-C ends it.")
        await stop.wait()
