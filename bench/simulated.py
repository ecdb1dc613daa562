"""Requests per second of the simulated endpoint, and its CPU time per request.

    python bench/simulated.py [REQUESTS]

The endpoint runs in a process of its own. The client is aiohttp with 64 requests in flight, half of them to the
responder and half to a critic. CPU time is the number to compare: unlike requests per second, it hardly depends on the
client or on other load.
"""

import asyncio
import json
import multiprocessing
import resource
import sys
import time
from multiprocessing.connection import Connection

import aiohttp

from muser.core.recipe import CriticSettings, ModelSettings, Recipe
from muser.endpoints.simulated.server import simulated_endpoint
from muser.prompts.templates import load_prompts

IN_FLIGHT = 64
QUERY = (
    "I am a nurse. A patient has pressing chest pain. It began some days ago. We are in a town in Germany. What now?"
)
SCHEMA = {"properties": {"rationale": {"type": "string"}, "verdict": {"enum": ["pass", "revise"]}}}


def serve(pipe: Connection) -> None:
    """Serves until a message arrives; then sends its CPU seconds and its peak memory in MiB."""

    async def run() -> None:
        async with simulated_endpoint() as base_url:
            pipe.send(base_url)
            before = time.process_time()
            await asyncio.to_thread(pipe.recv)
            pipe.send((time.process_time() - before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))

    asyncio.run(run())


def bodies(count: int) -> list[bytes]:
    """Request bodies with different seeds."""
    critics = {"safety": CriticSettings(prompt="safety.md")}
    prompts = load_prompts(Recipe(name="bench", models={"m": ModelSettings(model="simulated")}, critics=critics))
    critic = [message.model_dump() for message in prompts.critic_messages("safety", query=QUERY, answer="Rest. " * 40)]
    responder = [message.model_dump() for message in prompts.responder.render(query=QUERY)]
    shape = {"response_format": {"type": "json_schema", "json_schema": {"name": "reply", "schema": SCHEMA}}}
    kinds: list[dict[str, object]] = [{"messages": responder}, {"messages": critic, **shape}]
    return [json.dumps({"model": "simulated", "seed": n, **kinds[n % 2]}).encode() for n in range(count)]


async def ask_all(base_url: str, requests: list[bytes]) -> float:
    """Sends all requests; returns the wall-clock seconds."""
    # All workers take from one iterator, so all of them are busy until the last request.
    left = iter(requests)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT)) as session:

        async def work() -> None:
            for body in left:
                async with session.post(f"{base_url}/chat/completions", data=body) as reply:
                    reply.raise_for_status()
                    await reply.read()

        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
        return time.perf_counter() - started


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=[there], daemon=True)
    server.start()
    seconds = asyncio.run(ask_all(here.recv(), bodies(count)))
    here.send("stop")
    cpu, memory = here.recv()
    server.join()
    print(f"{count} requests, {IN_FLIGHT} in flight: {count / seconds:.0f} requests/s")
    print(
        f"endpoint: {cpu / count * 1000:.2f} ms CPU per request ({count / cpu:.0f} per core second), {memory:.0f} MiB"
    )


if __name__ == "__main__":
    main()
