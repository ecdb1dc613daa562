"""`diff` as one types it."""

from pathlib import Path

from ..conftest import Muser


def test_diff_says_what_changed_between_two_runs_and_what_to_look_at(muser: Muser, recipe: Path) -> None:
    muser("run", recipe)
    muser("run", recipe, "--new", "--set", "models.main.temperature=0.1", "--set", "seed=5")
    ended = muser("diff", "small", "small-2")
    assert ended.code == 0
    for part in (
        "small → small-2",
        "  models.main.temperature",
        "4 samples match, 4 done in both",
        "last verdicts",
        "safety",
        "no difference shown",
        "means over 4 pairs",
        "look at first",
        "muser show small/",
        "muser show small-2/",
    ):
        assert part in ended.out
    assert max(len(line) for line in ended.out.splitlines()) <= 80


def test_diff_prints_json(muser: Muser, recipe: Path) -> None:
    muser("run", recipe)
    muser("run", recipe, "--new")
    compared = muser("diff", "small", "small-2", "--json").json()
    assert (compared["matched"], compared["same_answer"], compared["changes"]) == (4, 4, [])
    assert compared["verdicts"]["safety"]["verdict"] == "no difference shown"
    assert compared["look_first"] == []


def test_diff_of_a_run_that_is_not_there_is_an_error(muser: Muser, recipe: Path) -> None:
    muser("run", recipe)
    ended = muser("diff", "small", "smal")
    assert ended.code == 1
    assert "there is no run smal" in ended.err
