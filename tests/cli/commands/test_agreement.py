"""`muser eval agreement`: judges of the same answers, and people's labels."""

import json
from pathlib import Path

from ..conftest import Muser


def write(path: Path, met: dict[str, list[bool]]) -> Path:
    lines = [
        {"prompt_id": prompt_id, "rubric_index": index, "criteria_met": verdict}
        for prompt_id, verdicts in met.items()
        for index, verdict in enumerate(verdicts)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_the_cheap_way_of_grading_is_compared_with_one_call_an_item(muser: Muser, benchmarked: Path) -> None:
    muser("eval", "run", benchmarked)
    muser("eval", "run", benchmarked, "--set", "evaluation.grading=example", "--set", "name=whole")
    runs = ("small-eval-main", "whole-eval-main")
    found = muser("eval", "agreement", *runs, "--json").json()
    assert (found["judges"], found["items"], found["differed"]) == (list(runs), 16, 0)
    (pair,) = found["pairs"]
    assert (pair["overall"]["n"], pair["overall"]["observed"], pair["overall"]["beyond_chance"]) == (16, 1.0, 1.0)
    assert {"axis:accuracy", "theme:context_seeking"} <= set(pair["by_tag"])
    told = " ".join(muser("eval", "agreement", *runs).out.split())
    assert "overall 16 100.0 % 1.00" in told


def test_other_answers_are_left_out_and_are_no_disagreement(muser: Muser, benchmarked: Path) -> None:
    Path("few.jsonl").write_text(json.dumps({"prompt_id": "asthma", "response": "Rest."}) + "\n")
    muser("eval", "run", benchmarked)
    muser("eval", "grade", benchmarked, "--answers", "few.jsonl")
    refused = muser("eval", "agreement", "small-eval-main", "small-eval-few")
    assert (refused.code, refused.out) == (1, "")
    assert "no answer was graded by two of these judges" in refused.err


def test_people_correct_a_judges_score_and_what_it_got_wrong_comes_first(
    muser: Muser, benchmarked: Path, tmp_path: Path
) -> None:
    rubrics = [json.loads(line)["rubrics"] for line in (tmp_path / "benchmark.jsonl").read_text().splitlines()]
    names = ("chest pain", "asthma")
    right = {name: [n % 2 == 0 for n in range(len(items))] for name, items in zip(names, rubrics, strict=True)}
    wrong = {name: [True, True, *verdicts[2:]] for name, verdicts in right.items()}
    judge, people = write(tmp_path / "judge.jsonl", wrong), write(tmp_path / "people.jsonl", right)
    judged = ("eval", "agreement", judge, "--labels", people, "--data", "benchmark.jsonl")
    one = muser(*judged, "--json").json()["corrected"][str(judge)]
    assert (one["sensitivity"]["share"], one["specificity"]["share"]) == (1.0, 0.75)
    both = muser("eval", "agreement", judge, people, "--data", "benchmark.jsonl", "--json").json()
    assert both["differed"] == 2
    assert both["look_first"][0]["met"] == {str(judge): True, str(people): False}
    assert "sensitivity 100.0 % of 8" in " ".join(muser(*judged).out.split())


def test_one_judge_alone_is_refused(muser: Muser, benchmarked: Path, tmp_path: Path) -> None:
    judge = write(tmp_path / "judge.jsonl", {"asthma": [True]})
    assert "name two runs or files" in muser("eval", "agreement", judge, "--data", "benchmark.jsonl").err
