"""`muser run` killed at every moment of a sample and at random ones, resumed, and compared with one that was not."""

import json
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from muser.endpoints.simulated.knowledge import rubric
from muser.store.file.database import Store
from muser.store.maintenance.space import back_up

from .harness import DONE, FAILED_SAMPLES, STOPPED, Harness

MakeHarness = Callable[..., Harness]
Unbroken = Callable[..., dict[str, object]]
ROLES = ("persona", "responder", "critics.decision", "critics.communication", "critics.safety", "refiner")
KILLED = -signal.SIGKILL
COMMIT, NEXT = "^COMMIT", "."


def moments() -> Iterator[tuple[str, list[str], range]]:
    """(name, the statements at which to die, how many calls may have been made without a row)"""
    for role in ROLES:
        mates = 3 if role.startswith("critics.") else 1
        row = [rf"^INSERT INTO calls .*VALUES \(\d+, '{role}'", COMMIT]
        yield f"{role}, before its call", [f"^SELECT .* FROM calls .*role = '{role}'"], range(1)
        yield f"{role}, its reply there and no row", row, range(1, mates + 1)
        yield f"{role}, its row there and no step", [*row, NEXT], range(mates)
        yield f"{role}, its step written and not committed", [*row, r"INTO writes", COMMIT], range(mates)
    done = ["^UPDATE samples SET status = 'done'", COMMIT]
    yield "the last step there and not the sample's row", done, range(1)
    yield "the sample's row there and not the run's", [*done, NEXT], range(1)


@pytest.fixture
def unbroken(make_harness: MakeHarness) -> Unbroken:
    """The samples of a run that nothing happened to."""

    def run(samples: int, **recipe: str) -> dict[str, object]:
        harness = make_harness(samples, folder="unbroken", concurrency=8, **recipe)
        assert harness.run() == DONE, harness.said
        assert not harness.repeats
        return dict(harness.results())

    return run


@pytest.mark.slow
def test_a_kill_at_any_moment_of_a_sample_repeats_only_what_had_no_row(
    make_harness: MakeHarness, unbroken: Callable[..., object]
) -> None:
    whole = unbroken(1)
    for number, (moment, die_at, without_row) in enumerate(moments()):
        harness = make_harness(folder=str(number))
        assert harness.run(die_at=die_at) == KILLED, moment
        assert harness.lost.total() in without_row, moment
        assert harness.run() == DONE, harness.said
        assert harness.repeats == harness.lost, moment
        assert harness.results() == whole, moment


@pytest.mark.slow
def test_a_kill_in_the_middle_of_any_write_leaves_a_store_that_goes_on(
    make_harness: MakeHarness, unbroken: Callable[..., object]
) -> None:
    """The system ends the process inside the write that would make a file too long, so that pages are torn."""
    whole = unbroken(1)
    for limit in (100, 5000, 20_000, 50_000, 100_000, 150_000, 200_000, 300_000, 400_000):
        harness = make_harness(folder=str(limit))
        code = harness.run(limit=limit, torn=True)
        assert code == -signal.SIGXFSZ, limit
        assert harness.run() == DONE, harness.said
        assert harness.repeats == harness.lost, limit
        assert harness.results() == whole, limit
        assert harness.muser("db", "check") == DONE, harness.said


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("extra", ["", "rounds: 2\nhistory: drop\n"], ids=["plain", "two rounds, no history"])
def test_a_kill_at_every_begin_and_commit_of_a_run_changes_nothing(
    make_harness: MakeHarness, unbroken: Unbroken, extra: str
) -> None:
    """From the making of the store to the end of the run, each in a store of its own."""
    whole, kills = unbroken(1, extra=extra), 0
    while True:
        harness = make_harness(folder=str(kills), extra=extra)
        if harness.run(die_at=["^(BEGIN|COMMIT)"] * (kills + 1)) == DONE:
            break
        assert harness.run() == DONE, harness.said
        assert harness.repeats == harness.lost, kills
        assert harness.results() == whole, kills
        kills += 1
    sys.stdout.write(f"{kills} kills\n")
    assert kills > 30


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "statements"),
    [
        (["prune"], [["^BEGIN"], [COMMIT], [COMMIT, NEXT]]),
        (["vacuum"], [["^VACUUM", NEXT]]),
        (["backup", "copy.db"], []),
    ],
    ids=lambda words: words[0] if words and isinstance(words[0], str) else "",
)
def test_a_kill_in_a_command_that_cares_for_the_store_loses_nothing(
    make_harness: MakeHarness, command: list[str], statements: list[list[str]]
) -> None:
    harness = make_harness(8, concurrency=8)
    harness.run()
    before, size = harness.results(), (harness.folder / "muser.db").stat().st_size
    limits = [5000, size // 2, size - 1] if command != ["prune"] else [5000]
    ways: list[dict[str, Any]] = [{"die_at": each} for each in statements]
    for way in (*ways, *({"limit": each, "torn": True} for each in limits)):
        assert harness.muser("db", *command, **way) in {KILLED, -signal.SIGXFSZ}, way
        assert not (harness.folder / "copy.db").exists()
        assert harness.muser("db", "check") == DONE, harness.said
        assert harness.results() == before
    assert harness.muser("db", *command) == DONE, harness.said
    assert harness.run("--samples", 10) == DONE, harness.said
    assert harness.results().items() > before.items()
    assert not harness.repeats


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_kill_at_any_begin_or_commit_of_a_replay_changes_nothing(make_harness: MakeHarness) -> None:
    killed, whole = make_harness(2), make_harness(2, folder="unbroken")
    for harness in (killed, whole):
        assert harness.run() == DONE, harness.said
    kills = 0
    for number in range(1, 40, 3):
        words = ["replay", "trial/s000002", "--from", "respond", "--set", f"models.sim.temperature=0.{number:02}"]
        kills += killed.muser(*words, die_at=["^(BEGIN|COMMIT)"] * number) == KILLED
        for harness in (killed, whole):
            assert harness.muser(*words) == DONE, harness.said
        run = "trial-fork" if number == 1 else f"trial-fork-{(number + 2) // 3}"
        assert killed.results(run) == whole.results(run), number
        assert killed.repeats == killed.lost, number
    sys.stdout.write(f"{kills} kills\n")
    assert kills > 8


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_kill_at_any_begin_or_commit_of_an_evaluation_changes_nothing(make_harness: MakeHarness) -> None:
    example = {
        "prompt_id": "one",
        "prompt": [{"role": "user", "content": "I have pressing chest pain."}],
        "rubrics": rubric("chest pain", "patient", "Germany"),
        "example_tags": ["theme:context_seeking"],
    }
    grades, kills = list[object](), 0
    for number in range(0, 80, 2):
        harness = make_harness(0, folder=str(number), extra="evaluation: {file: benchmark.jsonl}\n")
        (harness.folder / "benchmark.jsonl").write_text(json.dumps(example) + "\n")
        words = ["eval", "run", "trial.yaml"]
        code = harness.muser(*words, die_at=["^(BEGIN|COMMIT)"] * number)
        kills += code == KILLED
        assert harness.muser(*words) == DONE, harness.said
        assert harness.repeats == harness.lost, number
        grades.append(harness.results("trial-eval-sim"))
        assert grades[-1] == grades[0], number
        if number and code == DONE:
            break
    sys.stdout.write(f"{kills} kills\n")
    assert kills > 8


def together(harness: Harness, workers: int) -> list[int]:
    """So many processes that have samples; none while there are others."""
    return found if len(found := harness.at_work()) == workers else []


def gone(harness: Harness, pid: int) -> bool:
    return pid not in harness.at_work()


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_workers_that_are_killed_together_with_their_pool_lose_nothing(
    make_harness: MakeHarness, unbroken: Unbroken
) -> None:
    harness = make_harness(16, concurrency=6, latency=0.3)
    pool = harness.start("run", "trial.yaml", "--workers", 2)
    workers = harness.wait_until(partial(together, harness, 2))
    for pid in (pool, *workers):
        os.kill(pid, signal.SIGKILL)
    assert harness.commands.wait() == KILLED
    harness.wait_until(lambda: not harness.at_work())
    harness.count_lost()
    assert harness.lost, "they had calls in flight"
    assert harness.run("--workers", 2) == DONE, harness.said
    assert harness.repeats == harness.lost
    assert harness.results() == unbroken(16)


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_what_killed_workers_had_is_done_by_the_one_that_is_left(make_harness: MakeHarness, unbroken: Unbroken) -> None:
    harness = make_harness(40, concurrency=9, latency=0.3)
    harness.start("run", "trial.yaml", "--workers", 3)
    for left in (3, 2):
        victim = harness.wait_until(partial(together, harness, left))[0]
        os.kill(victim, signal.SIGKILL)
        harness.wait_until(partial(gone, harness, victim))
    assert harness.wait() == DONE, harness.said
    assert "worker processes killed meanwhile, others did their part: 2" in harness.said
    assert harness.repeats.total() <= 2 * 3 * 3, "two workers with three samples each, at three critics"
    assert len(harness.recorded) == len(harness.asked) == 40 * 6
    assert harness.results() == unbroken(40)


FAULTS = {
    "429": 0.05, "500": 0.03, "dropped": 0.03, "hang": 0.01,
    "malformed": 0.04, "wrong_schema": 0.02, "truncated": 0.03, "empty": 0.02, "prose": 0.03, "whitespace": 0.01,
}  # fmt: skip
MORE = 20
"""Samples that are asked for in addition whenever a run has come to its end before it was killed often enough."""


def end_at_random(harness: Harness, kills: int, chance: random.Random) -> int:
    """Starts the run and kills it, so many times; the number of samples that it took."""
    samples = MORE
    while kills:
        pid = harness.start("run", "trial.yaml", "--samples", samples)
        killer = threading.Timer(chance.uniform(0.02, 1.8), os.kill, (pid, signal.SIGKILL))
        killer.start()
        code = harness.wait()
        killer.cancel()
        assert code in {KILLED, DONE, FAILED_SAMPLES, STOPPED}, harness.said
        kills -= code == KILLED
        samples += MORE * (code in {DONE, FAILED_SAMPLES})
    return samples


def finish(harness: Harness, samples: int) -> None:
    code = harness.run("--samples", samples)
    while code in {FAILED_SAMPLES, STOPPED}:
        harness.start(
            *(("retry", "trial", "--failed") if code == FAILED_SAMPLES else ("run", "trial.yaml", "--samples", samples))
        )
        code = harness.wait()
    assert code == DONE, harness.said


def repeated_from_its_calls(harness: Harness, make_harness: MakeHarness, samples: int) -> dict[str, object]:
    """The samples of the same run once more, from the calls in its ledger only and with no kill.

    A fault depends on how often a request was seen, so that only the same replies can lead to the same samples.
    """
    copy = make_harness(samples, folder="repeated", concurrency=8)
    with Store.open(harness.folder / "muser.db") as store:
        back_up(store, copy.folder / "muser.db")
    with Store.open(copy.folder / "muser.db") as store:
        store.write_now(lambda db: [db.execute(sql).rowcount for sql in ONLY_CALLS])
    assert copy.run() == DONE, copy.said
    assert not copy.asked
    return dict(copy.results())


ONLY_CALLS = (
    "DELETE FROM threads",
    "DELETE FROM critiques",
    """
    UPDATE samples SET status = 'pending', rounds = 0, checkpoint_id = NULL, query_id = NULL,
        reasoning_id = NULL, answer_id = NULL, refined_reasoning = NULL, refined_answer_id = NULL""",
)
"""Set every sample back to its beginning; its calls and its number of tries, on which their seeds depend, stay."""


@pytest.mark.parametrize(
    ("seed", "kills"),
    [
        pytest.param(0, 12, marks=pytest.mark.slow),
        *(pytest.param(seed, 50, marks=[pytest.mark.nightly, pytest.mark.timeout(900)]) for seed in range(1, 5)),
    ],
)
def test_kills_at_random_moments_of_a_run_with_faults_change_nothing(
    make_harness: MakeHarness, unbroken: Unbroken, seed: int, kills: int
) -> None:
    harness = make_harness(concurrency=4, model=", retries: 4, timeout: 6", latency=0.3, faults=FAULTS)
    samples = end_at_random(harness, kills, random.Random(seed))
    finish(harness, samples)
    told = f"{kills} kills, {samples} samples, {harness.asked.total()} replies, {len(harness.recorded)} ledger rows"
    sys.stdout.write(
        f"{told}; {harness.repeats.total()} repeats of {harness.lost.total()} calls without a committed row\n"
    )
    assert harness.repeats <= harness.lost, "Counter: each body's own count"
    results = harness.results()
    assert len(results) == samples
    assert results == repeated_from_its_calls(harness, make_harness, samples)
    whole = unbroken(samples)
    untouched = harness.without_repairs()
    assert untouched
    assert {key: results[key] for key in untouched} == {key: whole[key] for key in untouched}
