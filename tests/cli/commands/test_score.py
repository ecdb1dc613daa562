"""`muser eval score`: grades of a file are added up without a store, and what is printed about a comparison."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from muser.cli.printing.scores import print_scores

from ..conftest import Muser


def write_grades(folder: Path, skip: int = 0) -> Path:
    """All items of the small benchmark met, except that the last `skip` have no verdict."""
    lines = [json.loads(line) for line in (folder / "benchmark.jsonl").read_text().splitlines()]
    items = [(line["prompt_id"], index) for line in lines for index in range(len(line["rubrics"]))]
    met = [True] * (len(items) - skip) + [None] * skip
    grades = [
        {"prompt_id": prompt_id, "rubric_index": index, "criteria_met": one}
        for (prompt_id, index), one in zip(items, met, strict=True)
    ]
    path = folder / "grades.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in grades))
    return path


def test_stored_grades_are_scored_without_a_store_under_the_names_of_simple_evals(
    muser: Muser, benchmarked: Path, tmp_path: Path
) -> None:
    scored = muser("eval", "score", "--data", "benchmark.jsonl", "--grades", write_grades(tmp_path), "--json")
    assert (scored.code, scored.err) == (0, "")
    found = scored.json()
    assert found["score"] == found["metrics"]["overall_score"]
    assert found["metrics"]["overall_score:n_samples"] == 2
    assert found["metrics"]["theme:context_seeking"] == found["score"]
    assert {"axis:accuracy", "axis:accuracy:n_samples", "axis:accuracy:bootstrap_std"} <= set(found["metrics"])
    assert not (tmp_path / "muser.db").exists()


def test_what_missing_verdicts_may_change_and_the_length_adjusted_score_stand_beside_the_score(
    muser: Muser, benchmarked: Path, tmp_path: Path
) -> None:
    answers = [{"prompt_id": name, "response": "Rest."} for name in ("chest pain", "asthma")]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in answers))
    files = ("--data", "benchmark.jsonl", "--grades", write_grades(tmp_path, skip=1), "--answers", "answers.jsonl")
    told = " ".join(muser("eval", "score", *files, "--benchmark", "hard").out.split())
    assert "overall, length-adjusted 1 " in told
    assert "1 items not judged, and 1 answers left out" in told
    assert "if no item without a verdict is met" in told
    assert muser("eval", "score", *files, "--benchmark", "soft").code == 1
    assert "--benchmark NAME together" in muser("eval", "score", *files).err


def test_a_score_of_nothing_is_refused(muser: Muser) -> None:
    assert "give RUN, or --data FILE and --grades FILE" in muser("eval", "score").err


def test_what_got_worse_is_marked_and_what_is_not_shown_has_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    def scored(mean: float) -> dict[str, object]:
        overall = {"mean": mean, "low": mean, "high": mean, "n": 9}
        return {"report": {"overall": overall, "rubric_tags": {}, "example_tags": {}}, "differences": {}}

    worse = {"difference": -0.3, "low": -0.4, "high": -0.2, "verdict": "lower", "reason": ""}
    unsure = {"difference": 0.1, "low": 0.1, "high": 0.2, "verdict": "no difference shown", "reason": "p is 0.25"}
    stages = {
        "distill": scored(0.5),
        "refine": scored(0.2) | {"differences": {"distill": {"overall": worse}}},
        "more": scored(0.3) | {"differences": {"refine": {"overall": unsure}}},
    }
    print_scores(Console(width=120), stages)
    printed = capsys.readouterr()
    shown = [line for line in printed.out.splitlines() if line.startswith("overall")]
    assert shown[0].split() == ["overall", "9", "50.0", "±", "0.0", "20.0", "±", "0.0", "▼", "30.0", "±", "0.0", "·"]
    assert "overall, more − refine: no difference shown, since p is 0.25" in printed.err
