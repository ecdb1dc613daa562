import json
from pathlib import Path

import pytest

from muser.core.errors import InputError
from muser.screens.references import read_references

EXAMPLE = {
    "prompt": [
        {"role": "user", "content": "My ear hurts."},
        {"role": "assistant", "content": "Since when does it hurt?"},
        {"role": "user", "content": "Two days."},
    ],
    "rubrics": [{"criterion": "Asks about fever", "points": 5, "tags": []}],
    "ideal_completions_data": {"ideal_completion": "Do you have a fever?", "ideal_completions_ref_completions": []},
    "prompt_id": "1",
}


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return path


def test_prompts_criteria_and_ideal_completions_are_read_without_those_of_under_three_words(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", EXAMPLE, {"prompt": "Is honey safe for babies?", "ideal_completions_data": None})
    assert [(one.kind, one.where, one.text) for one in read_references([path])] == [
        ("prompt", f"{path}:1", "My ear hurts."),
        ("prompt", f"{path}:1", "Since when does it hurt?"),
        ("criterion", f"{path}:1", "Asks about fever"),
        ("completion", f"{path}:1", "Do you have a fever?"),
        ("prompt", f"{path}:2", "Is honey safe for babies?"),
    ]


def test_a_text_that_several_files_have_is_kept_once(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.jsonl", EXAMPLE), write(tmp_path / "b.jsonl", {"prompt": "my EAR hurts!"})
    assert [one.where for one in read_references([first, second]) if "ear" in one.text] == [f"{first}:1"]


def test_every_bad_line_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"question": "?"}, "{\n", {"prompt": [{"role": "user"}]}, {"prompt": [3]})
    with pytest.raises(InputError) as caught:
        read_references([path])
    for number, reason in enumerate(("the field 'prompt' is missing", "not JSON", "the field 'content'", ""), start=1):
        assert f"{path}:{number}: {reason}" in caught.value.what


def test_a_benchmark_without_texts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no text of three words"):
        read_references([write(tmp_path / "a.jsonl", {"prompt": "Why?"})])
