"""The cost of finding similar texts, and how much of a benchmark planted in a run decontamination finds.

    python bench/screens.py [--draws N] [--samples N] [--benchmark FILE]

Sketches: CPU time of one core for texts of 28 words. Lookups: a draw is added to a store and its neighbours are read, a
thousand at a time, in indexes of 1,000 to N draws. Texts are made of this repository's words, and are more alike than
real queries. Screening: the sketch and the lookup of a sample, relative to a simulated run without them.
Nets, with a benchmark in HealthBench's format: half of its prompts are the benchmark, the others play the run.
"""

import argparse
import asyncio
import json
import os
import random
import re
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import accumulate, islice
from pathlib import Path
from statistics import median
from typing import Any

# One core: without this the tokenizer takes all of them.
os.environ["TOKENIZERS_PARALLELISM"] = "false"
sys.path.insert(0, str(Path(__file__).parent))
from endpoint import fast_endpoint
from run import run_muser

from muser.core.jsonl import read_lines
from muser.core.types import SampleInput
from muser.screens.decontamination import Benchmark
from muser.screens.embeddings import SAME_MEANING, embed, meaning_sketch
from muser.screens.minhash import NEAR, near_sketch
from muser.screens.planting import score_nets
from muser.screens.references import read_references
from muser.store.file.database import Store
from muser.store.records.neighbours import Near, Sketch, add_draw
from muser.store.records.runs import Run, create_run
from muser.store.records.samples import add_samples

ROOT = Path(__file__).resolve().parent.parent
WORDS, BATCH, ROUNDS, CHUNK = 28, 1000, 3, 50_000

KINDS: dict[str, tuple[Callable[[str], Sketch], Near]] = {
    "near duplicates": (near_sketch, NEAR),
    "same meaning": (meaning_sketch, SAME_MEANING),
}


def texts(count: int, seed: int = 0) -> Iterator[str]:
    """Common words by Zipf's law, and words of one of a thousand topics."""
    pages = [*ROOT.glob("docs/**/*.md"), *ROOT.glob("prompts/*.*"), *ROOT.glob("*.md")]
    names = sorted({word for page in pages for word in re.findall("[a-z]{2,}", page.read_text("utf-8").lower())})
    random.Random(0).shuffle(names)
    weights = list(accumulate(1 / rank for rank in range(1, len(names) + 1)))
    rng = random.Random(seed)
    topics = [random.Random(number).sample(names, 40) for number in range(1000)]
    for _ in range(count):
        yield " ".join(
            rng.choices(rng.choice(topics), k=WORDS // 2) + rng.choices(names, cum_weights=weights, k=WORDS // 2)
        )


def per_text(act: Callable[[], object], count: int) -> float:
    """Microseconds of CPU time for each text, the best of three."""
    tries = []
    for _ in range(3):
        began = time.process_time()
        act()
        tries.append((time.process_time() - began) / count * 1e6)
    return round(min(tries), 1)


def sketch_all(sketch: Callable[[str], Sketch], some: Sequence[str]) -> list[Sketch]:
    return [sketch(text) for text in some]


def sketches(some: Sequence[str]) -> dict[str, Any]:
    embed(some[:1])
    cost = per_text(lambda: embed(some), len(some))
    found = {name: per_text(partial(sketch_all, sketch, some), len(some)) for name, (sketch, _) in KINDS.items()}
    return {"embeddings, texts/s": round(1e6 / cost), "sketch, CPU µs": found}


def fill(store: Store, first: int, sketches: Sequence[Sketch]) -> None:
    """Add draws in bulk: what `add_draw` writes, sorted by bucket, without looking for neighbours."""
    buckets = sorted((key, n, one.outline) for n, one in enumerate(sketches, first) for key in set(one.buckets))

    def change(db: sqlite3.Connection) -> None:
        db.execute("INSERT OR IGNORE INTO sketched_runs VALUES (1, 'bench')")
        db.executemany(
            "INSERT INTO sketches VALUES (?, 1, ?, ?)", ((n, s.hash, s.data) for n, s in enumerate(sketches, first))
        )
        db.executemany(
            "INSERT INTO sketched_draws VALUES (?, ?, 1)", ((n, n) for n in range(first, first + len(sketches)))
        )
        db.executemany("INSERT INTO sketch_buckets VALUES (1, ?, ?, ?)", buckets)

    store.write_now(change)


async def lookups(path: Path, kind: str, sizes: Sequence[int]) -> dict[str, Any]:
    """For each size of the index, what a draw costs in milliseconds, and the bytes that each takes."""
    sketch, near = KINDS[kind]
    found: dict[str, Any] = {}
    with Store.open(path) as store:
        create_run(store, Run(id="bench", name="bench", recipe="", identity={}, fingerprint="", prompts={}))
        samples = sizes[-1] + len(sizes) * ROUNDS * BATCH
        add_samples(store, "bench", (SampleInput(key=f"s{number}") for number in range(samples)), 0)
        before, made, count = used(store), texts(sizes[-1]), 0
        for size in sizes:
            while count < size:
                some = [sketch(text) for text in islice(made, min(CHUNK, size - count))]
                fill(store, count + 1, some)
                count += len(some)
            some = [sketch(text) for text in texts(ROUNDS * BATCH, size)]
            found[f"{size:,}"] = await measured(store, near, some, count)
            count += len(some)
        found["bytes a draw"] = round((used(store) - before) / count)
    return found


def used(store: Store) -> int:
    sql = "SELECT page_count * page_size AS bytes FROM pragma_page_count, pragma_page_size"
    return int(store.read(sql)[0]["bytes"])


async def measured(store: Store, near: Near, some: Sequence[Sketch], first: int) -> dict[str, float]:
    walls, cpus = [], []
    for start in range(0, len(some), BATCH):
        wall, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(
            *(
                add_draw(store, f"bench/s{first + start + n}", 1, one, near)
                for n, one in enumerate(some[start : start + BATCH])
            )
        )
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return {"wall, ms": round(median(walls) / BATCH * 1000, 3), "CPU, ms": round(median(cpus) / BATCH * 1000, 3)}


def screening(samples: int) -> dict[str, Any]:
    """CPU milliseconds of a simulated sample, and of its sketches and lookups."""
    with tempfile.TemporaryDirectory() as folder, fast_endpoint() as url:
        asyncio.run(run_muser(url, Path(folder) / "warm.db", 4, 4))
        began = time.process_time()
        asyncio.run(run_muser(url, Path(folder) / "muser.db", samples, 64))
        run = (time.process_time() - began) / samples * 1000
        some = list(texts(samples))
        began = time.process_time()
        with Store.open(Path(folder) / "muser.db") as store:

            async def add() -> None:
                for name, (sketch, near) in KINDS.items():
                    if name == "near duplicates":
                        await asyncio.gather(
                            *(
                                add_draw(store, f"bench/s{n:06}", 1, sketch(text), near)
                                for n, text in enumerate(some, 1)
                            )
                        )

            asyncio.run(add())
        own = (time.process_time() - began) / samples * 1000
    return {"sample, CPU ms": round(run, 2), "near duplicates, CPU ms": round(own, 2), "share": round(own / run, 3)}


def nets(file: Path, folder: Path) -> list[dict[str, Any]]:
    """Recall and precision of each net: half of the prompts are the benchmark, the last turns of the others the run."""
    lines = [line for _, line in read_lines(file)]
    random.Random(0).shuffle(lines)
    half = folder / "half.jsonl"
    half.write_bytes(b"\n".join(lines[: len(lines) // 2]))
    own = [json.loads(line)["prompt"][-1]["content"] for line in lines[len(lines) // 2 :]]
    scores = score_nets(own, Benchmark(read_references([half])))
    return [
        score.model_dump(include={"net", "copies", "changed", "planted", "recall", "flagged", "precision"})
        for score in scores
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=20_000)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--benchmark", type=Path)
    asked = parser.parse_args()
    print(json.dumps(sketches(list(texts(BATCH))), ensure_ascii=False))
    print(json.dumps(screening(asked.samples)))
    sizes = sorted({min(asked.draws, size) for size in (1000, 10_000, 100_000, 1_000_000)})
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            print(json.dumps({kind: asyncio.run(lookups(Path(folder) / f"{kind}.db", kind, sizes))}))
        if asked.benchmark:
            for line in nets(asked.benchmark, Path(folder)):
                print(json.dumps(line))


if __name__ == "__main__":
    main()
