"""The store without graph or HTTP: ledger writes, look-ups, queries, and bytes per sample.

    python bench/store.py [--samples N] [--writers N]

Each sample makes six calls (persona, responder, three critics, refiner). Their prompts quote earlier replies, as real
prompts do, because the ledger stores a quoted text once.
"""

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from muser.core.types import Message, Persona, Reply, SampleInput, Usage
from muser.store.file.database import Store
from muser.store.records.ledger import Call, find_call, record_call, request_hash, usage_by_role
from muser.store.records.runs import Run, create_run, list_runs
from muser.store.records.samples import add_samples, counts, get_trace, record_sample, take_pending

CRITICS = ("decision", "communication", "safety")
WORDS = [
    f"{a}{b}" for a in ("fe", "pa", "do", "re", "li", "co") for b in ("ver", "in", "se", "st", "quid", "ugh", "al")
]


def text(rng: random.Random, size: int) -> str:
    """A text of about `size` characters; the number at its end makes it unique."""
    return " ".join(rng.choices(WORDS, k=size // 6)) + f" {rng.random()}"


def texts_of(number: int) -> dict[str, Any]:
    """The replies of one sample's models: 10 KB of distinct text."""
    rng = random.Random(number)
    rationales = {name: text(rng, 700) for name in CRITICS}
    said = {
        "query": text(rng, 600),
        "reasoning": text(rng, 2400),
        "answer": text(rng, 2400),
        "refined": text(rng, 2400),
    }
    return said | {"rationales": rationales}


def calls_of(sample: str, number: int, said: dict[str, Any]) -> list[Call]:
    """The sample's six calls in the graph's order."""
    shared = f"{'Review the answer as told. ' * 40}\n\nQuery:\n{said['query']}\n\nAnswer:\n{said['answer']}\n\n"
    plans = "\n\n".join(said["rationales"].values())
    steps = [
        ("persona", f"Write what person {number} would ask. " * 8, said["query"], ""),
        ("responder", said["query"], said["answer"], said["reasoning"]),
        *((f"critics.{name}", f"{shared}Judge {name}.", f'{{"rationale": "{r}", "verdict": "revise"}}', "")
          for name, r in said["rationales"].items()),
        ("refiner", f"{shared}Plans:\n{plans}\nRewrite it.", said["refined"], ""),
    ]  # fmt: skip
    made = []
    for place, (role, prompt, reply, reasoning) in enumerate(steps):
        messages = (Message(role="system", content="You are careful."), Message(role="user", content=prompt))
        parameters: dict[str, Any] = {"model": "m", "temperature": 0.7, "max_tokens": 2048, "seed": number * 10 + place}
        made.append(
            Call(
                sample_id=sample,
                role=role,
                request_hash=request_hash(messages, parameters, ""),
                model="teacher",
                messages=messages,
                parameters=parameters,
                reply=Reply(
                    text=reply, reasoning=reasoning, finish_reason="stop", usage=Usage(tokens_in=900, tokens_out=300)
                ),
                outcome="ok",
            )
        )
    return made


async def take_through(store: Store, sample: str, number: int, waits: list[float]) -> None:
    """Takes one sample through the store. Each call is looked up before it is recorded, as the graph does."""
    said = texts_of(number)
    for call in calls_of(sample, number, said):
        started = time.perf_counter()
        found = await find_call(store, sample, call.role, call.round, call.attempt, call.request_hash)
        waits.append(time.perf_counter() - started)
        assert found is None
        await record_call(store, call)
    refined = "\n\n".join([said["reasoning"], *said["rationales"].values(), "Now, answer."])
    state = {
        "query": said["query"],
        "response": {"reasoning": said["reasoning"], "answer": said["answer"]},
        "critiques": [{"critic": c, "verdict": "revise", "rationale": r} for c, r in said["rationales"].items()],
        "refinement": {"reasoning": refined, "answer": said["refined"]},
        "round": 1,
    }
    await record_sample(store, sample, status="done", state=state, checkpoint_id=f"{number:032x}")


async def fill(store: Store, writers: int, waits: list[float]) -> None:
    """Takes every pending sample through the store, `writers` at a time."""

    async def work() -> None:
        while taken := await take_pending(store, "bench", 1):
            await take_through(store, taken[0].id, int(taken[0].key[1:]), waits)

    await asyncio.gather(*(work() for _ in range(writers)))


def milliseconds(work: Callable[[], object]) -> float:
    """Milliseconds of the fastest of three calls."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - started))
    return min(times)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--samples", type=int, default=2000)
    options.add_argument("--writers", type=int, default=64)
    given = options.parse_args()
    persona: Persona = dict(
        zip(("identity", "region", "condition", "intent", "vagueness", "completeness", "style"), "abcdefg", strict=True)
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.db"
        measure(path, given.samples, given.writers, persona)
        said = sum(len(v) if isinstance(v, str) else sum(map(len, v.values())) for v in texts_of(0).values())
        per_sample = path.stat().st_size / given.samples / 1024
        print(f"space                 {per_sample:10.1f} KiB per sample with {said / 1024:.1f} KiB of text")


def measure(path: Path, samples: int, writers: int, persona: Persona) -> None:
    """Fills a store, runs the queries that commands run, and prints a line for each."""
    with Store.open(path) as store:
        create_run(store, Run(id="bench", name="bench", recipe="", identity={}, fingerprint=""))
        started = time.perf_counter()
        add_samples(store, "bench", (SampleInput(key=f"s{n:06d}", persona=persona) for n in range(samples)), 0)
        print(f"add samples           {samples / (time.perf_counter() - started):10.0f} per second")

        waits: list[float] = []
        started, cpu = time.perf_counter(), time.process_time()
        asyncio.run(fill(store, writers, waits))
        wall, cpu = time.perf_counter() - started, time.process_time() - cpu
        print(f"ledger, {writers:4d} writers  {6 * samples / wall:10.0f} calls per second, each on disk")
        print(f"samples               {samples / wall:10.1f} per second, {1000 * cpu / samples:.2f} ms CPU per sample")

        show_waits("look-up, new request", waits)
        asyncio.run(look_up_again(store, samples))
        for name, work in (
            ("runs", lambda: list_runs(store)),
            ("counts", lambda: counts(store, "bench")),
            ("usage by role", lambda: usage_by_role(store, "bench")),
            ("one trace", lambda: get_trace(store, f"bench/s{samples // 2:06d}")),
        ):
            print(f"{name:22}{milliseconds(work):10.2f} ms")


async def look_up_again(store: Store, samples: int) -> None:
    """Times look-ups that find their call, of samples spread over the file."""
    waits = []
    for number in random.Random(0).sample(range(samples), min(samples, 500)):
        sample = f"bench/s{number:06d}"
        for call in calls_of(sample, number, texts_of(number)):
            started = time.perf_counter()
            found = await find_call(store, sample, call.role, 1, 1, call.request_hash)
            waits.append(time.perf_counter() - started)
            assert found == call.reply
    show_waits("look-up, in ledger", waits)


def show_waits(name: str, waits: list[float]) -> None:
    """Prints the median and the 99th percentile."""
    *_, slow = statistics.quantiles(waits, n=100)
    print(f"{name:22}{1e6 * statistics.median(waits):10.0f} µs median, {1e6 * slow:.0f} µs p99")


if __name__ == "__main__":
    main()
