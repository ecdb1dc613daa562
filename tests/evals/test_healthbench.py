"""The file format of HealthBench."""

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from muser.core.errors import InputError
from muser.core.types import Message, RubricItem
from muser.evals.examples import Example
from muser.evals.healthbench import benchmark_digest, conversation_text, item_text, load_examples

Write = Callable[..., Path]


def line(prompt_id: str = "a", **changes: Any) -> dict[str, Any]:
    """A line as the published files have it, extra fields included."""
    return {
        "prompt_id": prompt_id,
        "prompt": [{"role": "user", "content": "I feel dizzy."}],
        "rubrics": [
            {"criterion": "Asks since when.", "points": 5, "tags": ["level:example", "axis:context_awareness"]}
        ],
        "example_tags": ["theme:context_seeking"],
        "ideal_completions_data": None,
        "canary": "not for training",
    } | changes


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(*lines: dict[str, Any] | str | bytes) -> Path:
        path = tmp_path / "rubrics.jsonl"
        texts = [json.dumps(one) if isinstance(one, dict) else one for one in lines]
        path.write_bytes(b"\n".join(one.encode() if isinstance(one, str) else one for one in texts) + b"\n")
        return path

    return to_file


def problem(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_examples(path)
    return caught.value.what


def test_a_published_line_loads_and_unknown_fields_are_ignored(write: Write) -> None:
    extra = {"criterion": "Names a drug.", "points": -3.5, "tags": [], "rubric_id": 7}
    turns = [
        {"role": "user", "content": "Hi", "name": "x"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "I feel dizzy."},
    ]
    (example,) = load_examples(write(line(prompt=turns, rubrics=[extra])))
    assert [turn.role for turn in example.prompt] == ["user", "assistant", "user"]
    assert example.rubrics == (RubricItem(criterion="Names a drug.", points=-3.5, tags=()),)
    assert example.example_tags == ("theme:context_seeking",)


def test_blank_lines_a_byte_order_mark_and_line_separators_in_text_do_no_harm(write: Write) -> None:
    separated = json.dumps(line("b", prompt=[{"role": "user", "content": "one\u2028two"}]), ensure_ascii=False)
    path = write(b"\xef\xbb\xbf" + json.dumps(line("a")).encode() + b"\r", "", separated)
    assert [example.prompt_id for example in load_examples(path)] == ["a", "b"]


def test_every_broken_line_is_named_with_file_line_and_place(write: Write) -> None:
    item = {"criterion": "c", "points": 1, "tags": []}
    path = write(
        line("a"),
        '{"prompt_id": ',
        line("b", rubrics=[item, item | {"points": "5"}], prompt=[]),
        line("c", rubrics=[item | {"tags": ["x", "x"]}], example_tags=["t", "u", "t"]),
        line("d", prompt=[{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]),
        line("a"),
        "[]",
        {"prompt_id": "e"},
        line("f", rubrics=[]),
    )
    text = problem(path)
    assert text.startswith("12 problems: the file")
    assert f"{path}:1:" not in text
    assert f"{path}:2: Invalid JSON: EOF while parsing a value at column 14" in text
    assert f"{path}:3: rubrics[1].points: Input should be a valid number" in text
    assert f"{path}:3: prompt: must end with a user turn" in text
    assert f"{path}:4: rubrics[0].tags: repeats the tag 'x'" in text
    assert f"{path}:4: example_tags: repeats the tag 't'" in text
    assert f"{path}:5: prompt: must end with a user turn" in text
    assert f"{path}:6: prompt_id: 'a' is already on line 1" in text
    assert f"{path}:7: Input should be an object" in text
    assert f"{path}:8: example_tags: Field required" in text
    assert f"{path}:9: rubrics: must have at least one item" in text
    assert text.count("points:") == 1


@pytest.mark.parametrize("points", ["true", "NaN", "1e999", '"5"', "null"])
def test_points_that_are_no_finite_number_are_a_problem(write: Write, points: str) -> None:
    broken = json.dumps(line()).replace('"points": 5', f'"points": {points}')
    assert ":1: rubrics[0].points: " in problem(write(broken))


def test_bytes_that_are_no_text_are_a_problem(write: Write) -> None:
    assert ":1: Invalid JSON" in problem(write(json.dumps(line()).encode().replace(b"dizzy", b"\xff\xfe")))


def test_only_the_first_twenty_problems_are_spelled_out(write: Write) -> None:
    text = problem(write(*["{"] * 23))
    assert text.startswith("23 problems")
    assert text.count("Invalid JSON") == 20
    assert text.endswith("and 3 more")


def test_a_file_that_is_missing_or_empty_is_an_input_error(write: Write, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_examples(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="cannot be read"):
        benchmark_digest(tmp_path)
    with pytest.raises(InputError, match="no examples"):
        load_examples(write(""))


def test_a_subset_is_drawn_as_simple_evals_draws_it_and_repeats_multiply_it(write: Write) -> None:
    path = write(*(line(str(number)) for number in range(50)))
    drawn = random.Random(0).sample([str(number) for number in range(50)], 7)
    assert [example.prompt_id for example in load_examples(path, n=7, repeats=3)] == drawn * 3
    assert drawn[:3] == ["24", "48", "26"]


def test_asked_for_more_examples_than_there_are_it_gives_all(write: Write) -> None:
    assert [example.prompt_id for example in load_examples(write(line("a"), line("b")), n=3)] == ["a", "b"]


def test_the_judge_reads_points_as_the_file_has_them(write: Write) -> None:
    points = (5, -8, 2.5, 3.0)
    rubrics: list[dict[str, Any]] = [{"criterion": "Asks.", "points": each, "tags": []} for each in points]
    (example,) = load_examples(write(line(rubrics=rubrics)))
    assert [item_text(item) for item in example.rubrics] == ["[5] Asks.", "[-8] Asks.", "[2.5] Asks.", "[3.0] Asks."]


def test_the_judge_reads_the_whole_conversation_and_the_answer_as_paragraphs() -> None:
    prompt = [Message(role="user", content="Hi"), Message(role="assistant", content="Hello\n\nthere")]
    expected = "user: Hi\n\nassistant: Hello\n\nthere\n\nassistant: See a doctor."
    assert conversation_text(prompt, "See a doctor.") == expected


def test_a_misspelt_field_in_code_is_an_error_although_files_may_have_more() -> None:
    with pytest.raises(ValidationError):
        Example.model_validate(line())


def test_the_digest_is_of_the_bytes(write: Write) -> None:
    path = write(line())
    assert benchmark_digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()
