"""The client's cost of a run: CPU a sample and wall against ideal, beside the naive graph and a bare client.

    python bench/run.py                      every case, small
    python bench/run.py muser --latency 1    one case: naive, muser or floor

Each case runs in a process of its own. CPU is of the client alone; ideal is samples / in flight x 4 x latency, since a
sample's six calls are four in a row. `durability="sync"` throughout.
"""

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from endpoint import fast_endpoint

CRITICS = ("decision", "communication", "safety")


async def run_muser(base_url: str, path: Path, samples: int, in_flight: int) -> None:
    from muser.core.recipe import Recipe
    from muser.graph.run import run_recipe
    from muser.store.database import Store

    recipe = Recipe(
        name="bench",
        samples=samples,
        concurrency=in_flight,
        models={"fast": {"model": "fast", "base_url": base_url}},
        critics={name: {"prompt": f"{name}.md"} for name in CRITICS},
    )
    with Store.open(path) as store:
        summary = await run_recipe(recipe, store)
    assert summary.done == samples, summary


async def run_naive(base_url: str, path: Path, samples: int, in_flight: int) -> None:
    from naive import run

    await run(base_url, path, samples, in_flight)


async def run_floor(base_url: str, _path: Path, samples: int, in_flight: int) -> None:
    """The same calls by bare aiohttp, nothing stored."""
    import aiohttp

    gate = asyncio.Semaphore(in_flight)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def call(text: str) -> str:
            body = {"model": "fast", "messages": [{"role": "user", "content": text}]}
            async with session.post(f"{base_url}/chat/completions", json=body) as response:
                return str((await response.json())["choices"][0]["message"]["content"])

        async def one(number: int) -> None:
            async with gate:
                answer = await call(await call(f"patient {number} " * 100))
                critiques = await asyncio.gather(*(call(f"{answer} {name}") for name in CRITICS))
                await call(answer + "".join(critiques))

        await asyncio.gather(*(one(number) for number in range(samples)))


CASES = {"floor": run_floor, "naive": run_naive, "muser": run_muser}


def measure(case: str, samples: int, in_flight: int, latency: float) -> dict[str, Any]:
    """One case in this process, after a warm-up of a few samples."""
    with tempfile.TemporaryDirectory() as folder, fast_endpoint(latency) as url:
        path = Path(folder) / "bench.db"

        async def timed() -> tuple[resource.struct_rusage, float]:
            # One loop for both: langchain keeps its HTTP client for the process.
            await CASES[case](url, path.with_name("warm.db"), 4, 4)
            before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
            await CASES[case](url, path, samples, in_flight)
            return before, time.perf_counter() - started

        before, wall = asyncio.run(timed())
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
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
        "peak_mb": round(after.ru_maxrss / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="?", choices=CASES)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds a call")
    given = parser.parse_args()
    if given.case:
        print(json.dumps(measure(given.case, given.samples, given.in_flight, given.latency)))
        return
    rows = []
    for latency in (0.0, 0.2):
        for case in CASES:
            size = ["--samples", str(given.samples), "--in-flight", str(given.in_flight), "--latency", str(latency)]
            done = subprocess.run([sys.executable, __file__, case, *size], check=True, capture_output=True, text=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(rows[-1], flush=True)
    cpu = {row["case"]: row["cpu_ms_per_sample"] for row in rows if row["latency_s"] == 0}
    print(f"CPU a sample, muser / naive: {cpu['muser'] / cpu['naive']:.2f}")


if __name__ == "__main__":
    main()
