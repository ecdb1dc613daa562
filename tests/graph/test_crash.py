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

from .beds import DONE, FAILED_SAMPLES, STOPPED, Bed

Lay = Callable[..., Bed]
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
def unbroken(lay: Lay) -> Unbroken:
    """The samples of a run that nothing happened to."""

    def run(samples: int, **recipe: str) -> dict[str, object]:
        bed = lay(samples, folder="unbroken", concurrency=8, **recipe)
        assert bed.run() == DONE, bed.said
        assert not bed.repeats
        return dict(bed.results())

    return run


@pytest.mark.slow
def test_a_kill_at_any_moment_of_a_sample_repeats_only_what_had_no_row(
    lay: Lay, unbroken: Callable[..., object]
) -> None:
    whole = unbroken(1)
    for number, (moment, die_at, without_row) in enumerate(moments()):
        bed = lay(folder=str(number))
        assert bed.run(die_at=die_at) == KILLED, moment
        assert bed.lost.total() in without_row, moment
        assert bed.run() == DONE, bed.said
        assert bed.repeats == bed.lost, moment
        assert bed.results() == whole, moment


@pytest.mark.slow
def test_a_kill_in_the_middle_of_any_write_leaves_a_store_that_goes_on(
    lay: Lay, unbroken: Callable[..., object]
) -> None:
    """The system ends the process inside the write that would make a file too long, so that pages are torn."""
    whole = unbroken(1)
    for limit in (100, 5000, 20_000, 50_000, 100_000, 150_000, 200_000, 300_000, 400_000):
        bed = lay(folder=str(limit))
        code = bed.run(limit=limit, torn=True)
        assert code == -signal.SIGXFSZ, limit
        assert bed.run() == DONE, bed.said
        assert bed.repeats == bed.lost, limit
        assert bed.results() == whole, limit
        assert bed.muser("db", "check") == DONE, bed.said


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("extra", ["", "rounds: 2\nhistory: drop\n"], ids=["plain", "two rounds, no history"])
def test_a_kill_at_every_begin_and_commit_of_a_run_changes_nothing(lay: Lay, unbroken: Unbroken, extra: str) -> None:
    """From the making of the store to the end of the run, each in a store of its own."""
    whole, kills = unbroken(1, extra=extra), 0
    while True:
        bed = lay(folder=str(kills), extra=extra)
        if bed.run(die_at=["^(BEGIN|COMMIT)"] * (kills + 1)) == DONE:
            break
        assert bed.run() == DONE, bed.said
        assert bed.repeats == bed.lost, kills
        assert bed.results() == whole, kills
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
    lay: Lay, command: list[str], statements: list[list[str]]
) -> None:
    bed = lay(8, concurrency=8)
    bed.run()
    before, size = bed.results(), (bed.folder / "muser.db").stat().st_size
    limits = [5000, size // 2, size - 1] if command != ["prune"] else [5000]
    ways: list[dict[str, Any]] = [{"die_at": each} for each in statements]
    for way in (*ways, *({"limit": each, "torn": True} for each in limits)):
        assert bed.muser("db", *command, **way) in {KILLED, -signal.SIGXFSZ}, way
        assert not (bed.folder / "copy.db").exists()
        assert bed.muser("db", "check") == DONE, bed.said
        assert bed.results() == before
    assert bed.muser("db", *command) == DONE, bed.said
    assert bed.run("--samples", 10) == DONE, bed.said
    assert bed.results().items() > before.items()
    assert not bed.repeats


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_kill_at_any_begin_or_commit_of_a_replay_changes_nothing(lay: Lay) -> None:
    killed, whole = lay(2), lay(2, folder="unbroken")
    for bed in (killed, whole):
        assert bed.run() == DONE, bed.said
    kills = 0
    for number in range(1, 40, 3):
        words = ["replay", "trial/s000002", "--from", "respond", "--set", f"models.sim.temperature=0.{number:02}"]
        kills += killed.muser(*words, die_at=["^(BEGIN|COMMIT)"] * number) == KILLED
        for bed in (killed, whole):
            assert bed.muser(*words) == DONE, bed.said
        run = "trial-fork" if number == 1 else f"trial-fork-{(number + 2) // 3}"
        assert killed.results(run) == whole.results(run), number
        assert killed.repeats == killed.lost, number
    sys.stdout.write(f"{kills} kills\n")
    assert kills > 8


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_kill_at_any_begin_or_commit_of_an_evaluation_changes_nothing(lay: Lay) -> None:
    example = {
        "prompt_id": "one",
        "prompt": [{"role": "user", "content": "I have pressing chest pain."}],
        "rubrics": rubric("chest pain", "patient", "Germany"),
        "example_tags": ["theme:context_seeking"],
    }
    grades, kills = list[object](), 0
    for number in range(0, 80, 2):
        bed = lay(0, folder=str(number), extra="evaluation: {file: benchmark.jsonl}\n")
        (bed.folder / "benchmark.jsonl").write_text(json.dumps(example) + "\n")
        words = ["eval", "run", "trial.yaml"]
        code = bed.muser(*words, die_at=["^(BEGIN|COMMIT)"] * number)
        kills += code == KILLED
        assert bed.muser(*words) == DONE, bed.said
        assert bed.repeats == bed.lost, number
        grades.append(bed.results("trial-eval-sim"))
        assert grades[-1] == grades[0], number
        if number and code == DONE:
            break
    sys.stdout.write(f"{kills} kills\n")
    assert kills > 8


def together(bed: Bed, workers: int) -> list[int]:
    """So many processes that have samples; none while there are others."""
    return found if len(found := bed.at_work()) == workers else []


def gone(bed: Bed, pid: int) -> bool:
    return pid not in bed.at_work()


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_workers_that_are_killed_together_with_their_crew_lose_nothing(lay: Lay, unbroken: Unbroken) -> None:
    bed = lay(16, concurrency=6, latency=0.3)
    crew = bed.start("run", "trial.yaml", "--workers", 2)
    workers = bed.wait_until(partial(together, bed, 2))
    for pid in (crew, *workers):
        os.kill(pid, signal.SIGKILL)
    assert bed.mortals.wait() == KILLED
    bed.wait_until(lambda: not bed.at_work())
    bed.count_lost()
    assert bed.lost, "they had calls in flight"
    assert bed.run("--workers", 2) == DONE, bed.said
    assert bed.repeats == bed.lost
    assert bed.results() == unbroken(16)


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_what_killed_workers_had_is_done_by_the_one_that_is_left(lay: Lay, unbroken: Unbroken) -> None:
    bed = lay(40, concurrency=9, latency=0.3)
    bed.start("run", "trial.yaml", "--workers", 3)
    for left in (3, 2):
        victim = bed.wait_until(partial(together, bed, left))[0]
        os.kill(victim, signal.SIGKILL)
        bed.wait_until(partial(gone, bed, victim))
    assert bed.wait() == DONE, bed.said
    assert "worker processes killed meanwhile, others did their part: 2" in bed.said
    assert bed.repeats.total() <= 2 * 3 * 3, "two workers with three samples each, at three critics"
    assert len(bed.recorded) == len(bed.asked) == 40 * 6
    assert bed.results() == unbroken(40)


FAULTS = {
    "429": 0.05, "500": 0.03, "dropped": 0.03, "hang": 0.01,
    "malformed": 0.04, "wrong_schema": 0.02, "truncated": 0.03, "empty": 0.02, "prose": 0.03, "whitespace": 0.01,
}  # fmt: skip
MORE = 20
"""Samples that are asked for in addition whenever a run has come to its end before it was killed often enough."""


def end_at_random(bed: Bed, kills: int, chance: random.Random) -> int:
    """Starts the run and kills it, so many times; the number of samples that it took."""
    samples = MORE
    while kills:
        pid = bed.start("run", "trial.yaml", "--samples", samples)
        killer = threading.Timer(chance.uniform(0.02, 1.8), os.kill, (pid, signal.SIGKILL))
        killer.start()
        code = bed.wait()
        killer.cancel()
        assert code in {KILLED, DONE, FAILED_SAMPLES, STOPPED}, bed.said
        kills -= code == KILLED
        samples += MORE * (code in {DONE, FAILED_SAMPLES})
    return samples


def finish(bed: Bed, samples: int) -> None:
    code = bed.run("--samples", samples)
    while code in {FAILED_SAMPLES, STOPPED}:
        bed.start(
            *(("retry", "trial", "--failed") if code == FAILED_SAMPLES else ("run", "trial.yaml", "--samples", samples))
        )
        code = bed.wait()
    assert code == DONE, bed.said


def repeated_from_its_calls(bed: Bed, lay: Lay, samples: int) -> dict[str, object]:
    """The samples of the same run once more, from the calls in its ledger only and with no kill.

    A fault depends on how often a request was seen, so that only the same replies can lead to the same samples.
    """
    copy = lay(samples, folder="repeated", concurrency=8)
    with Store.open(bed.folder / "muser.db") as store:
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
    UPDATE samples SET status = 'pending', rounds = 0, checkpoint_id = NULL, identity = NULL, region = NULL,
        condition = NULL, intent = NULL, vagueness = NULL, completeness = NULL, style = NULL, query_id = NULL,
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
    lay: Lay, unbroken: Unbroken, seed: int, kills: int
) -> None:
    bed = lay(concurrency=4, model=", retries: 4, timeout: 6", latency=0.3, faults=FAULTS)
    samples = end_at_random(bed, kills, random.Random(seed))
    finish(bed, samples)
    told = f"{kills} kills, {samples} samples, {bed.asked.total()} replies, {len(bed.recorded)} calls in the ledger"
    sys.stdout.write(f"{told}; {bed.repeats.total()} repeats of {bed.lost.total()} calls without a committed row\n")
    assert bed.repeats <= bed.lost, "Counter: each body's own count"
    results = bed.results()
    assert len(results) == samples
    assert results == repeated_from_its_calls(bed, lay, samples)
    whole = unbroken(samples)
    untouched = bed.without_repairs()
    assert untouched
    assert {key: results[key] for key in untouched} == {key: whole[key] for key in untouched}
