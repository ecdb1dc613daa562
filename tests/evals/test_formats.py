"""Benchmarks in other formats than HealthBench's, and how their answers are graded."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from muser.core.errors import InputError
from muser.evals.examples import Example
from muser.evals.formats import Choice, Completion, grade_letter, majority
from muser.evals.healthbench import load_examples
from muser.evals.judges import Item, Judged, balanced_f1, compare_judges

TURN = {"role": "user", "content": "I feel dizzy."}
QUESTION = {
    "question": "Which is a fruit?",
    "options": {"A": "Apple", "B": "Bread"},
    "answer_idx": "A",
    "meta_info": "s",
}


def load(path: Path, *lines: Mapping[str, object]) -> list[Example]:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return load_examples(path)


def label(answer: str, criterion: str, labels: list[bool], category: str = "cluster:a") -> dict[str, object]:
    return {
        "prompt_id": "p1", "completion_id": answer, "prompt": [TURN], "completion": f"Answer {answer}.",
        "rubric": criterion, "category": category, "binary_labels": labels, "anonymized_physician_ids": ["x"],
    }  # fmt: skip


@pytest.mark.parametrize("conversation", [[TURN], {"messages": [TURN]}])
def test_healthbench_professional_has_names_of_its_own_and_no_tags(tmp_path: Path, conversation: object) -> None:
    items = [{"criterion_text": "Asks since when.", "points": 7}, {"criterion_text": "Is vague.", "points": -3}]
    line = {"id": "c1", "conversation": conversation, "rubric_items": items, "canary": "x"}
    (example,) = load(tmp_path / "professional.jsonl", line)
    assert (example.prompt_id, example.prompt[0].content, example.example_tags) == ("c1", "I feel dizzy.", ())
    assert [(one.criterion, one.points, one.tags) for one in example.rubrics] == [
        ("Asks since when.", 7, ()),
        ("Is vague.", -3, ()),
    ]


def test_an_answer_of_a_meta_evaluation_has_all_criteria_that_physicians_judged_on_it(tmp_path: Path) -> None:
    lines = [label("c1", "a", [True, True]), label("c2", "a", [False]), label("c1", "b", [True, False])]
    first, second = load(tmp_path / "meta.jsonl", *lines)
    assert isinstance(first, Completion)
    assert (first.prompt_id, first.answer, first.labels) == ("c1", "Answer c1.", ((True, True), (True, False)))
    assert [one.criterion for one in first.rubrics] == ["a", "b"]
    assert second.rubrics[0].tags == ("cluster:a",)
    assert [majority(one) for one in first.labels] == [True, None]


def test_a_judge_is_measured_against_every_physician_by_category(tmp_path: Path) -> None:
    lines = [label("c1", "a", [True, False]), label("c2", "a", [False]), label("c3", "a", [True], "cluster:b")]
    examples = {one.prompt_id: one for one in load(tmp_path / "meta.jsonl", *lines)}
    judge = Judged("judge", {Item("c1", 0): True, Item("c2", 0): False, Item("c3", 0): True}, {})
    found = balanced_f1(examples, judge)
    # cluster:a: met 2·1 / (2 + 1), not met 2·1 / (1 + 2); cluster:b: met 1, not met never.
    assert found == pytest.approx({"cluster:a": 2 / 3, "cluster:b": 0.5, "overall": (2 / 3 + 0.5) / 2})
    compared = compare_judges(examples, [judge])
    assert compared.judges == ("judge", "physicians")
    assert compared.balanced_f1["judge"] == found
    # The physicians are even on c1.
    assert (compared.pairs[0].overall.n, compared.pairs[0].overall.observed) == (2, 1.0)


def test_a_question_shows_its_options_and_is_met_by_the_right_letter(tmp_path: Path) -> None:
    first, second = load(tmp_path / "medqa.jsonl", QUESTION, QUESTION | {"id": "q7", "answer_idx": "B"})
    assert isinstance(first, Choice)
    assert (first.prompt_id, second.prompt_id) == ("line-1", "q7")
    assert "A. Apple\nB. Bread" in first.prompt[0].content
    with pytest.raises(InputError, match=r"medqa\.jsonl:1: answer_idx must be"):
        load(tmp_path / "medqa.jsonl", QUESTION | {"answer_idx": "C"})


@pytest.mark.parametrize(
    ("answer", "met"),
    [
        ("A", True),
        ("(A)", True),
        ("The answer is **A**.", True),
        ("B looks right at first, but it is A.", True),
        ("A is wrong: B", False),
        ("Apple", False),
        ("I can't say.", False),
        ("C", False),
    ],
)
def test_an_answer_settles_on_its_last_letter_that_is_an_option(tmp_path: Path, answer: str, met: bool) -> None:
    (question,) = load(tmp_path / "medqa.jsonl", QUESTION)
    assert isinstance(question, Choice)
    assert grade_letter(question, answer).met is met
