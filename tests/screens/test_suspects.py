import json
from pathlib import Path

import pytest

from muser.core.errors import InputError
from muser.screens.suspects import row_suspects

TURNS = [
    {"role": "user", "content": "My ear hurts."},
    {"role": "assistant", "content": "Since when?"},
    {"role": "user", "content": "Two days."},
]


def test_the_last_turn_of_a_row_is_its_query_and_the_completion_its_answer(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": TURNS, "completion": [{"role": "assistant", "content": "See a doctor."}]}))
    assert [(one.where, one.part, one.text) for one in row_suspects(path)] == [
        (f"{path}:1", "history", "My ear hurts."),
        (f"{path}:1", "history", "Since when?"),
        (f"{path}:1", "query", "Two days."),
        (f"{path}:1", "answer", "See a doctor."),
    ]


@pytest.mark.parametrize("row", [{"prompt": []}, {"prompt": TURNS}, {"prompt": ["text"], "completion": []}, 3])
def test_the_first_line_that_is_no_row_is_named(tmp_path: Path, row: object) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row))
    with pytest.raises(InputError, match="not a training row") as caught:
        list(row_suspects(path))
    assert caught.value.where == f"{path}:1"
