"""A store of many samples: peak memory, seconds until a resumed run finds nothing to do, and seconds per query.

    python bench/scale.py                            10,000 samples, 1,000 of them run
    python bench/scale.py --samples 100000           what `make nightly` runs
    python bench/scale.py --samples 100000 --run-all runs all of them, which takes half an hour
    python bench/scale.py --fill FILE --samples N    only fills the store, for other benchmarks

The first 1,000 samples run through the graph against bench/endpoint.py. Their rows (texts, calls, critiques,
checkpoints) are then copied under new keys. Each copied text is altered, or the store would share it.
"""

import argparse
import asyncio
import hashlib
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from sqlite3 import Connection
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from endpoint import fast_endpoint

from muser.core.recipe import Recipe
from muser.graph.run import run_recipe
from muser.store.file.database import Store
from muser.store.queries.listing import list_samples
from muser.store.queries.overview import neighbours
from muser.store.records.runs import list_runs
from muser.store.records.samples import get_trace

CRITICS = ("decision", "communication", "safety")
COPIED = 1000
"""Samples copied per transaction."""


def recipe(url: str, samples: int) -> Recipe:
    models = {"fast": {"model": "fast", "base_url": url}}
    critics = {name: {"prompt": f"{name}.md"} for name in CRITICS}
    return Recipe(name="scale", samples=samples, concurrency=64, models=models, critics=critics)


def peak() -> int:
    """Peak memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def run_samples(store: Store, url: str, samples: int) -> list[int]:
    """Runs the samples; returns the peak memory in MB after each tenth of them."""
    marks: list[int] = []

    def follow(progress: Any) -> None:
        while progress.done >= samples * (len(marks) + 1) // 10 and len(marks) < 10:
            marks.append(peak())

    summary = asyncio.run(run_recipe(recipe(url, samples), store, on_progress=follow))
    assert summary.done == samples, summary
    return marks


TEXT_IDS = {"refined_reasoning", "messages", "reply", "texts"}
"""Columns that are JSON lists with ids of texts in them."""
KEY = "CAST(substr(name, -6) AS INTEGER) BETWEEN ? AND ?"
THREAD = f"thread IN (SELECT id FROM threads WHERE {KEY})"
TABLES = {
    "samples": "id BETWEEN ? AND ?",
    "critiques": "sample_id BETWEEN ? AND ?",
    "calls": "sample_id BETWEEN ? AND ?",
    "threads": KEY,
    "checkpoints": THREAD,
    "checkpoint_values": THREAD,
    "writes": THREAD,
}


def variant(body: str, number: int) -> str:
    """The text as copy `number` has it. JSON stays valid, because white space may follow it."""
    return body + (" " * number if body.startswith("{") else f" {number}")


class Copier:
    """Copies the rows of the first `have` samples. The ids of copy N are the originals plus N times `steps`."""

    def __init__(self, store: Store, have: int) -> None:
        self.store, self.have = store, have
        self.steps = {
            table: int(store.read(f"SELECT max(id) AS n FROM {table}")[0]["n"]) + 1
            for table in ("texts", "samples", "threads", "calls")
        }

    def copy(self, want: int) -> None:
        for number in range(1, -(-want // self.have)):
            count = min(self.have, want - number * self.have)
            self.store.write_now(partial(self._copy_texts, number=number))
            for low in range(0, count, COPIED):
                high = min(low + COPIED, count)
                self.store.write_now(partial(self._copy_rows, number=number, low=low + 1, high=high))

    def _copy_texts(self, db: Connection, number: int) -> None:
        # The store checks a text against its hash when it reads it.
        db.create_function("sha256", 1, lambda body: hashlib.sha256(body.encode()).digest())
        db.create_function("variant", 2, variant)
        db.execute(
            """INSERT INTO texts (id, hash, body, raw)
            SELECT id + ?, sha256(variant(body, ?)), variant(body, ?), NULL FROM texts WHERE id < ?""",
            (number * self.steps["texts"], number, number, self.steps["texts"]),
        )

    def _copy_rows(self, db: Connection, number: int, low: int, high: int) -> None:
        for table, where in TABLES.items():
            cursor = db.execute(f"SELECT * FROM {table} WHERE {where}", (low, high))
            names = [column[0] for column in cursor.description]
            values = [
                [self._moved(table, name, value, number) for name, value in zip(names, row, strict=True)]
                for row in cursor
            ]
            marks = ", ".join("?" * len(names))
            db.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", values)

    def _moved(self, table: str, name: str, value: Any, number: int) -> Any:
        """A column's value in copy `number`: with the copy's ids and keys."""
        if value is None or name == "run_id":
            return value
        if name in TEXT_IDS:
            return re.sub(r"\d+", lambda found: str(int(found[0]) + number * self.steps["texts"]), value)
        if name == "id" and table in self.steps:
            return value + number * self.steps[table]
        if name == "thread":
            return value + number * self.steps["threads"]
        if name.endswith("_id") and name != "checkpoint_id":
            return value + number * self.steps["samples" if name == "sample_id" else "texts"]
        if (table, name) in {("samples", "key"), ("threads", "name")}:
            return f"{value[:-6]}{number * self.have + int(value[-6:]):06d}"
        return value


def fill(path: Path, samples: int, run_all: bool) -> dict[str, Any]:
    """Fills the store; returns its size, and the peak memory after each tenth of the samples that ran."""
    ran = samples if run_all else min(samples, 1000)
    with fast_endpoint() as url, Store.open(path) as store:
        began = time.perf_counter()
        marks = run_samples(store, url, ran)
        took = time.perf_counter() - began
        if samples > ran:
            Copier(store, ran).copy(samples)
    size = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
    return {
        "samples": samples,
        "ran": ran,
        "ran_per_s": round(ran / took, 1),
        "peak_mb_by_tenths": marks,
        "mib": round(size / 2**20, 1),
        "kib_per_sample": round(size / samples / 1024, 1),
    }


def timed(act: Callable[[], Any]) -> float:
    """Seconds of the slowest of three calls: what a user may have to wait."""
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - began)
    return round(max(seconds), 4)


def ask(path: Path, samples: int) -> dict[str, Any]:
    """Seconds per query and of a resumed run with nothing left, and peak memory without that of the fill."""
    middle = f"scale/s{samples // 2:06d}"
    with Store.open(path) as store:
        asked = {
            "runs": lambda: list_runs(store),
            "show": lambda: get_trace(store, middle),
            "list": lambda: list_samples(store, "scale"),
            "list, the last page": lambda: list_samples(store, "scale", offset=samples - 50),
            "filter": lambda: list_samples(store, "scale", "verdict.safety=revise and tokens>100 and has refinement"),
            "sort": lambda: list_samples(store, "scale", sort="-tokens"),
            "neighbours": lambda: neighbours(store, middle),
        }
        seconds = {name: timed(act) for name, act in asked.items()}
        began = time.perf_counter()
        list_samples(store, "scale", search="rest water")
        seconds["search, the first time"] = round(time.perf_counter() - began, 2)
        seconds["search"] = timed(lambda: list_samples(store, "scale", search="rest water"))
        with fast_endpoint() as url:
            began = time.perf_counter()
            summary = asyncio.run(run_recipe(recipe(url, samples), store))
            seconds["resume"] = round(time.perf_counter() - began, 3)
        assert summary.done == samples, summary
    return {"seconds": seconds, "peak_mb": peak()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--run-all", action="store_true")
    parser.add_argument("--fill", type=Path, metavar="FILE")
    parser.add_argument("--ask", type=Path, metavar="FILE", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.ask:
        print(json.dumps(ask(given.ask, given.samples)))
    elif given.fill:
        print(json.dumps(fill(given.fill, given.samples, given.run_all)))
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "scale.db")
            for step in (["--fill", path, *(["--run-all"] if given.run_all else [])], ["--ask", path]):
                command = [sys.executable, __file__, "--samples", str(given.samples), *step]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                print(json.dumps(json.loads(done.stdout.splitlines()[-1]), indent=2), flush=True)


if __name__ == "__main__":
    main()
