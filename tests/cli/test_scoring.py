"""`muser eval`: a simulated model answers a small benchmark, a simulated judge grades it, the grades are added up."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from muser.cli.scoring import print_scores
from muser.endpoints.knowledge import rubric

from .conftest import Muser, write_recipe


@pytest.fixture
def benchmarked(tmp_path: Path, simulated: str) -> Path:
    """The small recipe with a benchmark of two examples."""
    asked = {"chest pain": "I have pressing chest pain.", "asthma": "I have asthma and I am wheezing."}
    lines = [
        {
            "prompt_id": condition,
            "prompt": [{"role": "user", "content": query}],
            "rubrics": rubric(condition, "patient", "Germany"),
            "example_tags": ["theme:context_seeking"],
        }
        for condition, query in asked.items()
    ]
    (tmp_path / "benchmark.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return write_recipe(tmp_path, simulated, extra="evaluation: {file: benchmark.jsonl}\n")


def test_a_model_is_scored_and_its_scores_are_printed_by_axis_and_theme(muser: Muser, benchmarked: Path) -> None:
    ran = muser("eval", "run", benchmarked)
    assert ran.code == 0
    assert "small-eval-main: 2 of 2 samples done" in ran.out
    assert "muser eval score small-eval-main" in ran.err
    scored = muser("eval", "score", "small-eval-main")
    assert scored.code == 0
    names = [line[:28].strip() for line in scored.out.splitlines() if "±" in line]
    assert names[0] == "overall"
    assert {"accuracy", "context awareness", "theme: context seeking"} <= set(names)
    assert "2 examples, 16 rubric items; 0 items not judged" in " ".join(scored.out.split())


def test_the_same_command_again_asks_nothing(muser: Muser, benchmarked: Path) -> None:
    muser("eval", "run", benchmarked)
    again = muser("eval", "run", benchmarked)
    assert again.code == 0
    assert "· 0 calls" in again.err


def test_two_runs_are_compared_pair_by_pair(muser: Muser, benchmarked: Path) -> None:
    muser("eval", "run", benchmarked)
    muser("eval", "run", benchmarked, "--set", "seed=1")
    found = muser("eval", "score", "small-eval-main-2", "--against", "small-eval-main", "--json").json()
    difference = found["small-eval-main-2"]["differences"]["small-eval-main"]["overall"]
    assert difference["n"] == 2
    assert difference["verdict"] == "no difference shown"


def test_what_got_worse_is_marked_where_the_score_stands(capsys: pytest.CaptureFixture[str]) -> None:
    def scored(mean: float) -> dict[str, object]:
        overall = {"mean": mean, "low": mean, "high": mean}
        return {"report": {"overall": overall, "rubric_tags": {}, "example_tags": {}}, "differences": {}}

    worse = {"difference": -0.3, "low": -0.4, "high": -0.2, "verdict": "lower"}
    print_scores(
        Console(width=80),
        {"distill": scored(0.5), "refine": scored(0.2) | {"differences": {"distill": {"overall": worse}}}},
    )
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith("overall")]
    assert shown[0].split() == ["overall", "50.0", "±", "0.0", "20.0", "±", "0.0", "▼"]


def test_a_run_that_is_no_evaluation_cannot_be_scored(muser: Muser, benchmarked: Path) -> None:
    muser("run", benchmarked)
    ended = muser("eval", "score", "small")
    assert ended.code == 1
    assert "small is no evaluation run" in ended.err


def test_a_recipe_without_a_benchmark_says_so(muser: Muser, recipe: Path) -> None:
    ended = muser("eval", "run", recipe)
    assert ended.code == 1
    assert "evaluation" in ended.err


def test_a_model_that_the_recipe_does_not_know_is_refused(muser: Muser, benchmarked: Path) -> None:
    ended = muser("eval", "run", benchmarked, "--model", "nobody")
    assert ended.code == 1
    assert "there is no model nobody" in ended.err
