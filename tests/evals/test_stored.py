"""Scores from files: the arithmetic of simple-evals, and what is refused."""

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muser.core.errors import InputError
from muser.core.types import Grade, Message, RubricItem
from muser.evals.examples import Example
from muser.evals.scores import score_grades, summarize
from muser.evals.stored import as_simple_evals, read_answers, score_files

TAGS = ["axis:accuracy", "axis:completeness", "level:example", "level:cluster"]
items = st.builds(
    RubricItem,
    criterion=st.just("Is kind."),
    points=st.integers(-10, 10).filter(bool),
    tags=st.lists(st.sampled_from(TAGS), unique=True, max_size=3).map(tuple),
)
themes = st.lists(st.sampled_from(["theme:a", "theme:b", "physician_agreed_category:c"]), unique=True, max_size=2)


@st.composite
def evaluations(draw: st.DrawFn) -> list[tuple[Example, list[bool]]]:
    found = []
    for number in range(draw(st.integers(1, 8))):
        rubric = draw(st.lists(items, min_size=1, max_size=6))
        example = Example(
            prompt_id=f"p{number}",
            prompt=(Message(role="user", content="I feel dizzy."),),
            rubrics=tuple(rubric),
            example_tags=tuple(draw(themes)),
        )
        found.append((example, [draw(st.booleans()) for _ in rubric]))
    return found


def plain_scores(evaluation: list[tuple[Example, list[bool]]]) -> dict[str, list[float]]:
    """Metric → values, from the paper's formula alone."""
    values: dict[str, list[float]] = {}
    for example, met in evaluation:
        tags = {"overall_score": list(range(len(met)))}
        tags |= {tag: [n for n, one in enumerate(example.rubrics) if tag in one.tags] for tag in TAGS}
        for tag, places in tags.items():
            possible = sum(max(0, example.rubrics[n].points) for n in places)
            if possible:
                earned = sum(example.rubrics[n].points for n in places if met[n])
                for name in (tag, *(example.example_tags if tag == "overall_score" else ())):
                    values.setdefault(name, []).append(earned / possible)
    return values


@given(evaluations())
def test_every_metric_is_the_clipped_mean_over_the_answers_that_have_it(
    evaluation: list[tuple[Example, list[bool]]],
) -> None:
    scores = [
        score_grades(example, [Grade(item=n, points=example.rubrics[n].points, met=m) for n, m in enumerate(met)])
        for example, met in evaluation
    ]
    found = as_simple_evals(summarize(scores))
    expected = plain_scores(evaluation)
    means = {name: min(1.0, max(0.0, fmean(values))) for name, values in expected.items()}
    assert {name: found.metrics[name] for name in means} == pytest.approx(means, abs=1e-9)
    assert {name: found.metrics[f"{name}:n_samples"] for name in means} == {n: len(v) for n, v in expected.items()}
    assert set(found.metrics) == {f"{name}{part}" for name in means for part in ("", ":n_samples", ":bootstrap_std")}
    assert found.score == found.metrics.get("overall_score")


def benchmark() -> list[Example]:
    rubrics = (RubricItem(criterion="a", points=6, tags=("axis:x",)), RubricItem(criterion="b", points=-2, tags=()))
    prompt = (Message(role="user", content="I feel dizzy."),)
    return [Example(prompt_id=name, prompt=prompt, rubrics=rubrics, example_tags=()) for name in ("p1", "p2", "p3")]


def write(path: Path, *lines: Mapping[str, object]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def grade(prompt_id: str, index: int, met: bool | None = True) -> dict[str, object]:
    return {"prompt_id": prompt_id, "rubric_index": index, "criteria_met": met, "judge": "ignored"}


def test_an_example_without_any_grade_is_left_out_and_an_item_without_one_is_not_judged(tmp_path: Path) -> None:
    grades = write(tmp_path / "g.jsonl", grade("p2", 0), grade("p1", 1, None), grade("p1", 0))
    answers = write(tmp_path / "a.jsonl", {"prompt_id": "p2", "response": "Rest."})
    first, second = score_files(benchmark(), grades, answers)
    assert (first.prompt_id, first.score, first.unjudged, first.characters) == ("p1", None, 1, None)
    assert (second.prompt_id, second.score, second.unjudged, second.characters) == ("p2", None, 1, 5)
    report = summarize([first, second])
    assert (report.overall, report.rubric_tags["axis:x"].mean) == (None, 1.0)


def test_every_line_that_fits_no_item_is_named(tmp_path: Path) -> None:
    wrong: list[dict[str, object]] = [
        grade("p1", 0),
        grade("p1", 0),
        grade("p1", 2),
        grade("p9", 0),
        {"prompt_id": "p1", "rubric_index": "0"},
    ]
    with pytest.raises(InputError) as refused:
        score_files(benchmark(), write(tmp_path / "g.jsonl", *wrong))
    told = str(refused.value)
    assert "g.jsonl:2: item 0 of 'p1' has a grade already" in told
    assert "g.jsonl:3: the rubric of 'p1' has 2 items" in told
    assert "g.jsonl:4: the benchmark has no example 'p9'" in told
    assert "g.jsonl:5: rubric_index: " in told
    assert "g.jsonl:5: criteria_met: " in told


def test_an_answer_is_given_once_and_to_an_example_of_the_benchmark(tmp_path: Path) -> None:
    lines = [{"prompt_id": name, "response": "Rest."} for name in ("p1", "p1", "p9")]
    with pytest.raises(InputError, match="2 problems"):
        read_answers(write(tmp_path / "a.jsonl", *lines), {one.prompt_id: one for one in benchmark()})
