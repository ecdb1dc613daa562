"""JSON Lines as other programs write them."""

from pathlib import Path

import pytest

from muser.core.errors import InputError
from muser.core.jsonl import parse_object, read_lines


def test_only_a_line_feed_ends_a_line_and_a_byte_order_mark_is_no_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    text = '\ufeff{"a": "one\u2028two\u2029three\u0085four"}\r\n\n  \n{"a": "last"}'
    path.write_bytes(text.encode())
    read = [(number, parse_object(line)["a"]) for number, line in read_lines(path)]
    assert read == [(1, "one\u2028two\u2029three\u0085four"), (4, "last")]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"[1]", "not a JSON object"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"{" * 9, "not JSON"),
        (b'{"a": ' + b"[" * 100_000, "not JSON"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(line: bytes, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        parse_object(line)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read") as refused:
        list(read_lines(tmp_path))
    assert refused.value.where == str(tmp_path)
