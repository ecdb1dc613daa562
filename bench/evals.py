"""The cost of an evaluation: the client's CPU time per rubric item, and the time to score a whole benchmark.

    python bench/evals.py                       both, small
    python bench/evals.py --examples 5000       scoring at HealthBench's size: 5,000 examples, about 48,000 items
    python bench/evals.py --kill --graded 5000  grading at that size, killed in the middle and resumed

Cases: muser (`muser eval grade` on answers that exist) and pool (the plain client that simple-evals is: a pool of
threads, one call of the openai package for each item, nothing stored). Each runs in a process of its own. CPU time is
the client's alone. Both wait for an endpoint that replies at once.
"""

import argparse
import asyncio
import json
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from random import Random
from statistics import median

sys.path.insert(0, str(Path(__file__).parent))
from endpoint import fast_endpoint

IN_FLIGHT = 64
WARM = 4
"""Examples of the warm-up, in which the imports happen. They are not counted."""
AXES = ("accuracy", "completeness", "context_awareness", "communication_quality", "instruction_following")
THEMES = ("hedging", "context_seeking", "emergency_referrals", "global_health", "health_data_tasks")


def write_benchmark(folder: Path, examples: int) -> int:
    """Examples with 5 to 14 items each, an answer to each and grades of all; returns the number of items."""
    rng, lines, answers, grades = Random(0), [], [], []
    for number in range(examples):
        rubric = [
            {
                "criterion": f"Says what to do about complaint {number}, in part {item}.",
                "points": rng.choice([-8, -5, 3, 5, 7, 10]) if item else 5,
                "tags": ["level:example", f"axis:{rng.choice(AXES)}"],
            }
            for item in range(rng.randint(5, 14))
        ]
        prompt = [{"role": "user", "content": f"I have complaint {number}. " * 20}]
        tags = [f"theme:{rng.choice(THEMES)}"]
        lines.append({"prompt_id": f"p{number}", "prompt": prompt, "rubrics": rubric, "example_tags": tags})
        answers.append({"prompt_id": f"p{number}", "response": f"For complaint {number} rest and drink. " * 30})
        grades += [
            {"prompt_id": f"p{number}", "rubric_index": item, "criteria_met": rng.random() < 0.5}
            for item in range(len(rubric))
        ]
    for name, rows in (("benchmark", lines), ("answers", answers), ("grades", grades)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return len(grades)


def grade_with_muser(base_url: str, folder: Path, items: int) -> None:
    from muser.core.recipe import EvaluationSettings, Recipe
    from muser.evals.grading import evaluate
    from muser.store.file.database import Store

    recipe = Recipe(
        name="bench",
        concurrency=IN_FLIGHT,
        models={"fast": {"model": "fast", "base_url": base_url}},
        evaluation=EvaluationSettings(file="benchmark.jsonl", answers="answers.jsonl"),
        folder=folder,
    )
    with Store.open(folder / "bench.db") as store:
        summary = asyncio.run(evaluate(recipe, store))
    assert (summary.items, summary.unjudged) == (items, 0), summary


def grade_with_a_pool(base_url: str, folder: Path, items: int) -> None:
    from openai import OpenAI

    from muser.core.types import Message
    from muser.evals.healthbench import conversation_text, load_examples
    from muser.prompts.templates import load_prompt

    prompt = load_prompt("judge.md", Path(), "judge")
    answers = [json.loads(line)["response"] for line in (folder / "answers.jsonl").read_text().splitlines()]
    client = OpenAI(base_url=base_url, api_key="none", max_retries=0)
    asked: list[tuple[Message, ...]] = []
    for example, answer in zip(load_examples(folder / "benchmark.jsonl"), answers, strict=True):
        text = conversation_text(example.prompt, answer)
        asked += [
            prompt.render(conversation=text, points=item.points, criterion=item.criterion) for item in example.rubrics
        ]

    def grade(messages: tuple[Message, ...]) -> bool:
        sent = [{"role": one.role, "content": one.content} for one in messages]
        reply = client.chat.completions.create(model="fast", messages=sent)  # type: ignore[arg-type]
        return bool(json.loads(reply.choices[0].message.content or "")["criteria_met"])

    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        assert sum(pool.map(grade, asked)) == items


CASES = {"muser": grade_with_muser, "pool": grade_with_a_pool}


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(case: str, examples: int) -> float:
    """CPU milliseconds per rubric item, after a warm-up."""
    with tempfile.TemporaryDirectory() as warm, tempfile.TemporaryDirectory() as folder, fast_endpoint() as url:
        CASES[case](url, Path(warm), write_benchmark(Path(warm), WARM))
        items = write_benchmark(Path(folder), examples)
        before = cpu_seconds()
        CASES[case](url, Path(folder), items)
        return 1000 * (cpu_seconds() - before) / items


def kill_and_resume(examples: int) -> None:
    """Kills a grading once half of the items are committed, resumes it, and prints how many calls the rest took."""
    with tempfile.TemporaryDirectory() as place, fast_endpoint() as url:
        folder = Path(place)
        items = write_benchmark(folder, examples)
        first = get_context("spawn").Process(target=grade_with_muser, args=(url, folder, items))
        began = time.perf_counter()
        first.start()
        while count_calls(folder / "bench.db") < items // 2:
            time.sleep(0.2)
        first.kill()
        first.join()
        committed = count_calls(folder / "bench.db")
        grade_with_muser(url, folder, items)
        after = count_calls(folder / "bench.db") - committed
        seconds = time.perf_counter() - began
    print(f"{items:,} items in {seconds:.0f} s: killed at {committed:,} verdicts, resumed with {after:,} calls")
    assert committed + after == items


def count_calls(file: Path) -> int:
    """The calls of the judge that are committed."""
    if not file.exists():
        return 0
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        try:
            return int(db.execute("SELECT count(*) FROM calls WHERE role = 'judge'").fetchone()[0])
        except sqlite3.OperationalError:
            return 0


def time_scoring(examples: int) -> None:
    """Prints how long reading and scoring stored grades takes, with 1,000 resamples of each metric."""
    from muser.evals.healthbench import load_examples
    from muser.evals.scores import summarize
    from muser.evals.stored import as_simple_evals, score_files

    with tempfile.TemporaryDirectory() as folder:
        items = write_benchmark(Path(folder), examples)
        began = time.perf_counter()
        scores = score_files(load_examples(Path(folder) / "benchmark.jsonl"), Path(folder) / "grades.jsonl")
        read = time.perf_counter() - began
        as_simple_evals(summarize(scores))
        whole = time.perf_counter() - began
    print(f"scoring {items:,} items: {whole:.2f} s, of which reading {read:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="?", choices=CASES)
    parser.add_argument("--graded", type=int, default=100, help="examples that both clients grade")
    parser.add_argument("--examples", type=int, default=1000, help="examples that are scored")
    parser.add_argument("--kill", action="store_true", help="kill a grading in the middle and resume it")
    parser.add_argument("--rounds", type=int, default=3, help="repeats of both clients; the ratio is the median")
    given = parser.parse_args()
    if given.case:
        print(measure(given.case, given.graded))
        return
    if given.kill:
        kill_and_resume(given.graded)
        return
    time_scoring(given.examples)
    shares = []
    for _ in range(given.rounds):
        cpu = {}
        for case in CASES:
            command = [sys.executable, __file__, case, "--graded", str(given.graded)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            cpu[case] = float(done.stdout.splitlines()[-1])
        print(", ".join(f"{case} {ms:.2f} ms" for case, ms in cpu.items()), "CPU per rubric item", flush=True)
        shares.append(cpu["muser"] / cpu["pool"])
    print(f"CPU per rubric item, muser / pool: {median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})")


if __name__ == "__main__":
    main()
