"""Times lists, filters, searches and single traces in a large store, and the build of the full-text index.

    python bench/listing.py [--samples N] [--store FILE]

The rows are those of a finished run without its steps: six calls, three verdicts and 7 KB of text a sample. Word
frequencies follow Zipf's law, as in natural language, because the size of a full-text index depends on them. With
--store the file is kept and reused.
"""

import argparse
import hashlib
import json
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable
from itertools import accumulate, count
from pathlib import Path
from typing import Any

from muser.store.file.database import Store
from muser.store.maintenance.space import measure
from muser.store.queries.listing import list_samples
from muser.store.queries.reasons import explain
from muser.store.records.ledger import calls_of
from muser.store.records.runs import Run, create_run
from muser.store.records.samples import get_trace
from muser.store.records.search import index_texts

CRITICS = ("decision", "communication", "safety")
ROLES = ("persona", "responder", *(f"critics.{name}" for name in CRITICS), "refiner")
SYLLABLES = ("ba", "co", "di", "fe", "gu", "ha", "li", "mo", "nu", "pre", "ro", "sta", "tri", "ver", "xi", "ment", "ol")
BATCH = 1000
"""Samples per transaction."""
REPEATS = 5

LISTS: tuple[dict[str, Any], ...] = (
    {},
    {"sort": "-tokens"},
    {"offset": -10},
    {"where": "status=failed"},
    {"where": "verdict.safety=revise"},
    {"where": 'verdict.safety=revise and region="region 7" and status!=failed and tokens>2000', "sort": "-seconds"},
    {"where": "not verdict.safety=pass", "sort": "-tokens"},
    {"where": "region~7 or cause~malformed"},
    {"search": "chest pain"},
    {"search": '"chest pain"'},
    {"where": 'text~"fev*" and verdict.safety=revise', "sort": "-tokens"},
)


class Filler:
    """Inserts samples with SQL, because running 100,000 of them takes half an hour."""

    def __init__(self) -> None:
        self.rng, self.ids = random.Random(1), count(1)
        words = {"".join(self.rng.choices(SYLLABLES, k=self.rng.randint(1, 4))) for _ in range(20_000)}
        self.words = sorted(words, key=len)
        self.words[200:206] = ["chest", "pain", "fever", "cough", "headache", "nausea"]
        self.weights = list(accumulate(1 / (rank + 3) for rank in range(len(self.words))))

    def text(self, db: sqlite3.Connection, length: int) -> int:
        """Inserts a text of `length` words; returns its id."""
        return self.store_text(db, " ".join(self.rng.choices(self.words, cum_weights=self.weights, k=length)))

    def store_text(self, db: sqlite3.Connection, body: str) -> int:
        """Inserts a text; returns its id."""
        number = next(self.ids)
        db.execute("INSERT INTO texts VALUES (?, ?, ?, NULL)", (number, hashlib.sha256(body.encode()).digest(), body))
        return number

    def persona(self) -> str:
        """A persona as the store keeps it; two of its attributes vary."""
        where, what = f"region {self.rng.randrange(40)}", f"condition {self.rng.randrange(90)}"
        manner = {"intent": "advice", "vagueness": "vague", "completeness": "complete", "style": "lay"}
        return json.dumps({"identity": "a patient", "region": where, "condition": what} | manner)

    def sample(self, db: sqlite3.Connection, number: int) -> None:
        """Inserts a sample with its texts, critiques and calls. Every 50th sample is a failed one."""
        rng, failed = self.rng, number % 50 == 7
        query, reasoning, answer, refined = (self.text(db, length) for length in (60, 200, 250, 300))
        db.execute(
            """INSERT INTO samples (id, run_id, key, seed, status, persona, query_id, reasoning_id, answer_id,
                refined_reasoning, refined_answer_id, rounds, cause_kind, cause, failed_node, started_at, finished_at,
                seconds)
            VALUES (?, 'big', ?, 1, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, '2026-01-01T00:00:00.000Z',
                '2026-01-01T00:00:10.000Z', ?)""",
            (
                number, f"s{number:06d}", "failed" if failed else "done", self.persona(), query, reasoning, answer,
                json.dumps([reasoning]), None if failed else refined,
                *(("ReplyError.malformed", "…", "safety") if failed else [None] * 3), rng.random() * 100,
            ),
        )  # fmt: skip
        rationales = [self.text(db, 80) for _ in CRITICS]
        for place, (critic, rationale) in enumerate(zip(CRITICS, rationales, strict=True)):
            verdict = rng.choice(("pass", "revise", "revise"))
            db.execute("INSERT INTO critiques VALUES (?, 1, ?, ?, ?, ?)", (number, critic, place, verdict, rationale))
        for role, reply in zip(ROLES, (query, answer, *rationales, refined), strict=True):
            db.execute(
                """INSERT INTO calls (sample_id, role, round, attempt, request_hash, model, messages, parameters_id,
                    reply, outcome, finish_reason, served, tokens_in, tokens_out, tokens_cached, seconds, created_at)
                VALUES (?, ?, 1, 1, ?, 'm', ?, 1, ?, 'ok', 'stop', 'm', ?, ?, 0, 1, '2026-01-01T00:00:10.000Z')""",
                (number, role, rng.randbytes(32), json.dumps([["user", query, answer]]), json.dumps([reply]),
                 rng.randint(300, 900), rng.randint(50, 500)),
            )  # fmt: skip


def fill(store: Store, samples: int) -> None:
    """Inserts a finished run named `big`."""
    identity = {"roles": list(ROLES), "refine_when": "always"}
    create_run(store, Run(id="big", name="big", recipe="name: big\n", identity=identity, fingerprint=""))
    filler = Filler()
    # The first text is the one that every call refers to by parameters_id 1.
    store.write_now(lambda db: filler.store_text(db, "{}"))
    for first in range(1, samples + 1, BATCH):

        def batch(db: sqlite3.Connection, first: int = first) -> None:
            for number in range(first, min(first + BATCH, samples + 1)):
                filler.sample(db, number)

        store.write_now(batch)


def best(work: Callable[[], object]) -> float:
    """Milliseconds of the fastest repeat; the slower ones measure what else the machine was doing."""
    took = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        took.append(time.perf_counter() - started)
    return 1000 * min(took)


def main() -> None:
    """Fills the store unless it is filled, and prints a line per measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--store", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Store.open(given.store or Path(folder) / "bench.db") as store:
        if not store.read("SELECT 1 FROM runs"):
            fill(store, given.samples)
        total = list_samples(store, "big", limit=0).total
        started = time.perf_counter()
        index_texts(store)
        print(f"{total:,} samples; indexing the new texts took {time.perf_counter() - started:.1f} s")
        space = measure(store)
        size = space.file + space.log
        print(f"the full-text index takes {space.part('search') / size:.0%} of {size / 2**20:,.1f} MiB")
        for asked in LISTS:
            found = {**asked, "offset": total - 10} if "offset" in asked else asked
            took = best(lambda found=found: list_samples(store, "big", **found))  # type: ignore[misc]
            print(f"{took:7.0f} ms  {list_samples(store, 'big', **found).total:>9,} found by {asked or 'no filter'}")
        middle = f"big/s{max(total // 2, 1):06d}"
        print(f"{best(lambda: (get_trace(store, middle), calls_of(store, middle))):7.1f} ms  show one sample")
        print(f"{best(lambda: explain(store, middle)):7.1f} ms  --why of one sample")


if __name__ == "__main__":
    main()
