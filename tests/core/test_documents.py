"""YAML as plain data that knows its lines."""

import tracemalloc
from pathlib import Path

import pytest

from muser.core.documents import dotted, dump_yaml, find_file, parse_document, read_document
from muser.core.errors import SettingsError


def test_every_key_and_item_knows_its_line() -> None:
    document = parse_document("# remark\na:\n  b: [1,\n    2]\n  c:\n    - d: 3\n", "f")
    assert document.data == {"a": {"b": [1, 2], "c": [{"d": 3}]}}
    assert document.lines == {
        (): 2, ("a",): 2, ("a", "b"): 3, ("a", "b", 0): 3, ("a", "b", 1): 4,
        ("a", "c"): 5, ("a", "c", 0): 6, ("a", "c", 0, "d"): 6,
    }  # fmt: skip
    assert document.line(("a", "c", 0, "e", "f")) == 6
    assert document.line(("z",)) == 2


def test_what_a_merge_brings_in_has_the_lines_it_was_written_in() -> None:
    document = parse_document("x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz:\n  c: 3\n  <<: [*x, *y]\n", "f")
    assert document.data["z"] == {"a": 1, "b": 1, "c": 3}
    assert [document.lines["z", key] for key in "abc"] == [1, 1, 4]
    assert not document.problems


def test_an_alias_gives_values_that_are_changed_apart() -> None:
    data = parse_document("x: &x {a: 1}\ny: *x\n", "f").data
    data["x"]["a"] = 2
    assert data["y"] == {"a": 1}


@pytest.mark.parametrize("again", ["[{all}]", "{{<<: [{all}]}}"], ids=["lists", "merges"])
def test_aliases_to_aliases_are_refused_before_they_fill_the_memory(again: str) -> None:
    first = "n0: &n0 {a: 1, b: 2, c: 3}\n"
    bomb = first + "".join(f"n{n}: &n{n} {again.format(all=', '.join([f'*n{n - 1}'] * 9))}\n" for n in range(1, 13))
    assert len(bomb) < 1000
    tracemalloc.start()
    try:
        with pytest.raises(SettingsError, match=r"^f:1: aliases repeat more than 100,000 characters or values"):
            parse_document(bomb, "f")
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()


def test_aliases_of_a_long_text_count_by_its_length() -> None:
    text = f"a: &a {'x' * 20_000}\nb: [*a, *a, *a, *a]\n"
    assert len(parse_document(text, "f").data["b"]) == 4
    with pytest.raises(SettingsError, match="aliases repeat"):
        parse_document(text.replace("]", ", *a]"), "f")


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert read_document(tmp_path / "f").data == {"a": 1, "b": 2}


def test_a_file_that_is_not_there_is_called_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"there is no such table$"):
        read_document(tmp_path / "f", "table")


def test_written_yaml_keeps_its_order_and_means_the_same_to_older_readers() -> None:
    assert dump_yaml({"b": "on", "a": "1e-4", "date": "2026-01-01"}) == "b: 'on'\na: '1e-4'\ndate: '2026-01-01'\n"


def test_a_file_of_ones_own_is_found_before_the_one_that_ships(tmp_path: Path) -> None:
    packaged = find_file("safety.md", tmp_path)
    assert packaged is not None
    (tmp_path / "safety.md").write_text("mine")
    assert find_file("safety.md", tmp_path) == tmp_path / "safety.md"
    assert find_file(f"../{packaged.parent.name}/safety.md", tmp_path) is None
    assert find_file("attributes.py.md", tmp_path) is None


def test_places_are_written_as_people_write_them() -> None:
    assert dotted(("a", "b", 0, "c")) == "a.b[0].c"
    assert dotted(()) == ""
