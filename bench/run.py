"""The client's cost of a run: CPU time per sample, and wall time relative to the ideal.

    python bench/run.py                      every case, small
    python bench/run.py --walls              ideal / wall: 64 in flight at 200 ms and at 1 s, 1,024 at 5 s
    python bench/run.py muser --latency 1    one case

Cases: floor (the calls alone, with aiohttp), naive (bench/naive.py), muser, https (muser over TLS), pair (two workers
of muser). Each case runs in a process of its own, because peak memory and imports would carry over to the next one.
CPU time is the client's alone. Ideal is samples / in flight x 4 x latency, because a sample's six calls take four
sequential steps.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from endpoint import fast_endpoint, make_certificate

WALLS = ((64, 0.2, 640), (64, 1.0, 512), (1024, 5.0, 8192))
"""(samples in flight, seconds per call, samples)."""
WARM = 4
"""Samples of the warm-up, in which the imports happen. They are not counted."""
CRITICS = ("decision", "communication", "safety")


async def run_muser(base_url: str, path: Path, samples: int, in_flight: int, workers: int | None = None) -> None:
    from muser.core.recipe import Recipe
    from muser.graph.run import run_recipe
    from muser.store.file.database import Store

    recipe = Recipe(
        name="bench",
        samples=samples,
        concurrency=in_flight,
        models={"fast": {"model": "fast", "base_url": base_url}},
        critics={name: {"prompt": f"{name}.md"} for name in CRITICS},
    )
    with Store.open(path) as store:
        summary = await run_recipe(recipe, store, workers=workers)
    assert summary.done == samples, summary


async def run_naive(base_url: str, path: Path, samples: int, in_flight: int) -> None:
    from naive import run

    await run(base_url, path, samples, in_flight)


async def run_floor(base_url: str, _path: Path, samples: int, in_flight: int) -> None:
    """The same calls with aiohttp, storing nothing."""
    import aiohttp

    limit = asyncio.Semaphore(in_flight)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def call(text: str) -> str:
            body = {"model": "fast", "messages": [{"role": "user", "content": text}]}
            async with session.post(f"{base_url}/chat/completions", json=body) as response:
                return str((await response.json())["choices"][0]["message"]["content"])

        async def one(number: int) -> None:
            async with limit:
                answer = await call(await call(f"patient {number} " * 100))
                critiques = await asyncio.gather(*(call(f"{answer} {name}") for name in CRITICS))
                await call(answer + "".join(critiques))

        await asyncio.gather(*(one(number) for number in range(samples)))


CASES: dict[str, Callable[[str, Path, int, int], Coroutine[Any, Any, None]]] = {
    "floor": run_floor,
    "naive": run_naive,
    "muser": run_muser,
    "https": run_muser,
    "pair": partial(run_muser, workers=1),
}


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def timed(case: str, url: str, path: Path, samples: int, in_flight: int) -> tuple[float, float]:
    """CPU and wall seconds, after a warm-up.

    Both run in one event loop, because langchain-openai caches its HTTP client, and a client belongs to one loop.
    """
    await CASES[case](url, path.with_name(f"warm{os.getpid()}.db"), WARM, WARM)
    cpu, began = cpu_seconds(), time.perf_counter()
    await CASES[case](url, path, samples, in_flight)
    return cpu_seconds() - cpu, time.perf_counter() - began


def work(*given: Any) -> tuple[float, float]:
    return asyncio.run(timed(*given))


def measure(case: str, samples: int, in_flight: int, latency: float) -> dict[str, Any]:
    """Measures one case in this process, or `pair` in two child processes."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        certificate = make_certificate(Path(folder)) if case == "https" else None
        if certificate:
            os.environ["SSL_CERT_FILE"] = str(certificate)
        url = running.enter_context(fast_endpoint(latency, certificate=certificate))
        path = Path(folder) / "bench.db"
        if case == "pair":
            with multiprocessing.get_context("spawn").Pool(2) as pool:
                both = pool.starmap(work, [("pair", url, path, samples, in_flight)] * 2, chunksize=1)
            cpu, wall = sum(cpu for cpu, _ in both), max(wall for _, wall in both)
        else:
            cpu, wall = work(case, url, path, samples, in_flight)
        size = sum(file.stat().st_size for file in path.parent.glob("bench.db*"))
    return {
        "case": case,
        "in_flight": in_flight,
        "latency_s": latency,
        "samples": samples,
        "cpu_ms_per_sample": round(1000 * cpu / samples, 2),
        "samples_per_s": round(samples / wall, 1),
        "ideal_over_wall": round(samples / in_flight * 4 * latency / wall, 3),
        "kib_per_sample": round(size / samples / 1024, 1),
        "peak_mb": max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        // 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="?", choices=CASES)
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds per call")
    parser.add_argument("--rounds", type=int, default=3, help="repeats of all cases; ratios are medians over them")
    parser.add_argument("--walls", action="store_true")
    given = parser.parse_args()
    if given.case:
        print(json.dumps(measure(given.case, given.samples, given.in_flight, given.latency)))
    elif given.walls:
        for in_flight, latency, samples in WALLS:
            show("muser", samples, in_flight, latency)
    else:
        # Case by case within a round, so that a slow minute of the machine slows all cases and cancels in the ratios.
        rounds = [
            {case: show(case, given.samples, given.in_flight)["cpu_ms_per_sample"] for case in CASES}
            for _ in range(given.rounds)
        ]
        shares = [cpu["muser"] / cpu["naive"] for cpu in rounds]
        secure = [cpu["https"] / cpu["muser"] for cpu in rounds]
        pairs = [cpu["muser"] / cpu["pair"] for cpu in rounds]
        print(f"CPU per sample, muser / naive: {median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})")
        print(f"CPU per sample, https / http: {median(secure):.2f} ({min(secure):.2f} to {max(secure):.2f})")
        print(f"samples per CPU second, two workers / one: {median(pairs):.2f} ({min(pairs):.2f} to {max(pairs):.2f})")
        for case in ("floor", "muser"):
            show(case, given.samples, given.in_flight, 0.2)


def show(case: str, samples: int, in_flight: int, latency: float = 0.0) -> dict[str, Any]:
    """Measures a case in a child process and prints it."""
    size = ["--samples", str(samples), "--in-flight", str(in_flight), "--latency", str(latency)]
    done = subprocess.run([sys.executable, __file__, case, *size], check=True, capture_output=True, text=True)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
