"""`provenance` as one types it."""

from pathlib import Path

from ..conftest import Muser


def test_a_row_is_followed_to_its_sample_and_back(muser: Muser, recipe: Path) -> None:
    muser("run", recipe)
    muser("export", "small", "--stage", "refine")
    ended = muser("provenance", "small-refine.jsonl:2")
    assert ended.code == 0
    assert "a row of stage refine; it matches the store" in ended.out
    assert "muser show small/s000002" in ended.out
    assert "  small-refine.jsonl:2 (stage refine)" in muser("provenance", "small/s000002").out
    assert muser("provenance", "small-refine.jsonl:2", "--json").json()["sample"]["sample"] == "small/s000002"


def test_a_file_of_rows_is_followed_to_its_runs(muser: Muser, recipe: Path) -> None:
    muser("run", recipe)
    muser("export", "small", "--stage", "distill")
    ended = muser("provenance", "small-distill.jsonl")
    assert ended.out.splitlines()[:2] == ["1  rows small  small-distill.jsonl", "   4 samples of small"]
    assert len(muser("provenance", "1", "--json").json()["samples"]) == 4


def test_a_sample_in_no_row_says_so(muser: Muser, recipe: Path) -> None:
    muser("run", recipe)
    assert "in no exported file of training rows" in muser("provenance", "q000001").out
    ended = muser("provenance", "nothing")
    assert (ended.code, ended.out) == (1, "")
    assert "there is no row, artifact or sample nothing" in ended.err
