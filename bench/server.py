"""muser against the server's own limit: the six-call graph on a real vLLM, and the same prompts from a bare client.

    python bench/server.py [--in-flight 8 16 32] [--samples N] [--rounds N]     SmolLM2 on vLLM, served here
    python bench/server.py --base-url URL --model NAME                          your own vLLM, started with
                                                                                VLLM_SERVER_DEV_MODE=1

The bare client replays muser's recorded requests with aiohttp alone: as many samples at a time, each with its persona,
response, critics side by side and refinement, without graph, checks, ledger or checkpoints. Both take turns on the same
server, whose prefix cache is emptied before each (vLLM's /reset_prefix_cache). `ratio` is muser's output tokens per
second over the bare client's; the target is 0.95.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp

from muser.cli.commands.fetch import ensure_model
from muser.core.recipe import Recipe, ServeSettings
from muser.endpoints.server.commands import Weights
from muser.endpoints.server.launch import serve_model
from muser.graph.run import run_recipe
from muser.store.file.database import Store
from muser.store.records.ledger import Call, calls_of

CRITICS = ("decision", "communication", "safety")
TARGET = 0.95
REPLY = 192  # tokens; a shorter limit would cut off most of the personas' queries, and end their samples
WARM = 4  # samples before the first measurement
ORDER = ("persona", "responder", "critics", "refiner")


@asynccontextmanager
async def served(given: argparse.Namespace, folder: Path) -> AsyncIterator[tuple[str, str]]:
    """(base_url, model) of the user's vLLM, or of one that serves SmolLM2 for the length of the block."""
    if given.base_url:
        yield given.base_url, given.model
        return
    settings = ServeSettings(engine="vllm", max_model_len=4096, env={"VLLM_SERVER_DEV_MODE": "1"})
    weights = Weights("smollm2", str(ensure_model("smollm2")))
    async with serve_model(weights, settings, log=folder / "vllm.log") as server:
        yield server.url, weights.name


async def empty_cache(session: aiohttp.ClientSession, url: str) -> None:
    async with session.post(f"{url.removesuffix('/v1')}/reset_prefix_cache") as reply:
        reply.raise_for_status()


async def with_muser(recipe: Recipe, store: Store) -> tuple[list[list[Call]], float]:
    """The calls of every sample, and the seconds of the run."""
    began = time.perf_counter()
    await run_recipe(recipe, store)
    seconds = time.perf_counter() - began
    keys = store.read("SELECT key FROM samples WHERE run_id = ? ORDER BY id", (recipe.name,))
    return [calls_of(store, f"{recipe.name}/{row['key']}") for row in keys], seconds


async def bare(
    session: aiohttp.ClientSession, url: str, samples: list[list[Call]], in_flight: int
) -> tuple[int, float]:
    """Output tokens and seconds of the same requests, sent by aiohttp alone."""
    free, tokens = asyncio.Semaphore(in_flight), 0

    async def send(call: Call) -> int:
        body = call.parameters | {"messages": [message.model_dump() for message in call.messages]}
        async with session.post(f"{url}/chat/completions", json=body) as reply:
            reply.raise_for_status()
            usage: dict[str, int] = (await reply.json())["usage"]
        return usage["completion_tokens"]

    async def sample(calls: list[Call]) -> int:
        made = 0
        async with free:
            for kind in ORDER:
                asked = [call for call in calls if call.role.partition(".")[0] == kind]
                # Repairs follow one another; what started together is sent together.
                for attempt in sorted({call.attempt for call in asked}):
                    made += sum(await asyncio.gather(*(send(call) for call in asked if call.attempt == attempt)))
        return made

    began = time.perf_counter()
    tokens = sum(await asyncio.gather(*(sample(calls) for calls in samples)))
    return tokens, time.perf_counter() - began


def recipe_of(name: str, url: str, model: str, seed: int, samples: int, in_flight: int) -> Recipe:
    """The six-call graph on this server."""
    return Recipe.model_validate(
        {
            "name": name,
            "seed": seed,
            "samples": samples,
            "attributes": "demo_attributes.yaml",
            "models": {"main": {"model": model, "base_url": url, "max_tokens": REPLY, "retries": 0}},
            "critics": {name: {"prompt": f"{name}.md"} for name in CRITICS},
            "repairs": 2,
            "reuse": "none",
            "concurrency": in_flight,
        }
    )


async def measure(given: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """One line for each number of samples in flight."""
    found = []
    # aiohttp's own limit of 100 connections would be the client's limit, not the server's.
    connector = aiohttp.TCPConnector(limit=0)
    async with served(given, folder) as (url, model), aiohttp.ClientSession(connector=connector) as session:
        # A server compiles what it needs at its first requests, which would count against whoever comes first.
        with Store.open(folder / "warm.db") as store:
            await with_muser(recipe_of("warm", url, model, 0, WARM, WARM), store)
        for in_flight in given.in_flight:
            rates: dict[str, list[float]] = {"muser": [], "bare": []}
            for turn in range(given.rounds):
                recipe = recipe_of(
                    f"server-{in_flight}-{turn}", url, model, turn, given.samples or 2 * in_flight, in_flight
                )
                await empty_cache(session, url)
                with Store.open(folder / f"{in_flight}-{turn}.db") as store:
                    samples, seconds = await with_muser(recipe, store)
                tokens = sum(call.reply.usage.tokens_out for calls in samples for call in calls)
                rates["muser"].append(tokens / seconds)
                await empty_cache(session, url)
                tokens, seconds = await bare(session, url, samples, in_flight)
                rates["bare"].append(tokens / seconds)
            rate = {name: median(values) for name, values in rates.items()}
            ratio = round(rate["muser"] / rate["bare"], 3)
            shown = {name: round(value, 1) for name, value in rate.items()}
            line = {"in_flight": in_flight, "output_tokens_per_s": shown, "ratio": ratio, "target": TARGET}
            print(json.dumps(line), flush=True)
            found.append(line)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--samples", type=int, help="samples of each measurement; default: twice as many as in flight")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(given, Path(folder)))


if __name__ == "__main__":
    main()
