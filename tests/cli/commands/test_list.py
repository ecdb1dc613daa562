"""`muser list` as one types it."""

import json
from pathlib import Path

import pytest

from muser.cli.commands.list import tell_indexed
from muser.cli.printing.progress import OFTEN

from ..conftest import Muser


def test_a_run_is_listed_a_line_a_sample(muser: Muser, recipe: Path) -> None:
    muser("run", recipe)
    ended = muser("list", "small")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0].split() == ["sample", "status", "critics", "query", "tokens", "s"]
    assert [line.split()[0] for line in lines[1:5]] == ["s000001", "s000002", "q000001", "q000002"]
    assert lines[5] == "simulated (a script replied, not a model): 4"
    assert lines[6].startswith("critics: decision, safety (✓ pass")
    assert max(len(line) for line in lines) <= 80
    assert ended.err == "4 of 4 samples\n"


def test_a_filter_a_search_and_an_order_are_heeded_and_the_next_page_is_named(muser: Muser, recipe: Path) -> None:
    muser("run", recipe)
    ended = muser("list", "small", "--where", "status=done and has query", "--sort", "-key", "--limit", 3)
    assert [line.split()[0] for line in ended.out.splitlines()[1:4]] == ["s000002", "s000001", "q000002"]
    again = "muser list small --where 'status=done and has query' --sort -key --limit 3 --offset 3"
    assert again in ended.err
    found = muser("list", "--search", "honey throat", "--json").json()
    assert (found["total"], found["samples"][0]["id"]) == (1, "small/q000002")
    assert muser("list", "small", "--where", "status=failed").out == ""


def test_a_query_is_cut_rather_than_a_name_that_one_copies(muser: Muser, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "questions.jsonl").write_text(json.dumps({"id": "q000001", "query": "Is it? " * 30}) + "\n")
    name = "a-name-that-is-not-short"
    muser("run", recipe, "--samples", 0, "--set", f"name={name}")
    line = muser("list").out.splitlines()[1]
    assert line.startswith(f"{name}/q000001  done    ✎✎")
    assert "Is it? Is it?" in line
    assert len(line) <= 80


def test_a_mistake_in_a_filter_is_marked(muser: Muser, recipe: Path) -> None:
    muser("run", recipe)
    ended = muser("list", "small", "--where", "status=done and verdict.safty=pass")
    assert ended.code == 1
    assert "there is no critic 'safty'; did you mean safety?\n" in ended.err
    line, mark = ended.err.splitlines()[1:3]
    assert line[mark.index("^") : mark.rindex("^") + 1] == "verdict.safty"


def test_a_hostile_query_or_filter_cannot_steer_the_terminal(muser: Muser, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "questions.jsonl").write_text(json.dumps({"query": "\x1b[2J\u202e[red]tag[/red]"}) + "\n")
    muser("run", recipe, "--samples", 0)
    for ended in (muser("list", "small"), muser("list", "small", "--json"), muser("list", "x\x1b[2J")):
        assert not {"\x1b", "\u202e"} & set(ended.out + ended.err)
    assert "[red]tag[/red]" in muser("list", "small").out
    assert "\x1b" not in muser("list", "small", "--where", "key=\x1b[2J\u202e (").err


def test_a_failed_sample_says_how_and_where(muser: Muser, recipe: Path) -> None:
    assert muser("run", recipe, "--samples", 0, "--set", "models.main.max_tokens=3", "--set", "repairs=0").code == 3
    assert "respond: unclosed" in muser("list", "small").out


def test_how_long_indexing_takes_is_said_where_it_takes_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, OFTEN / 2, OFTEN, OFTEN * 1.5])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    tell = tell_indexed()
    for done in (100, 200, 300):
        tell(done, 1200)
    assert capsys.readouterr().err == ("indexing texts for search: 200 of 1,200 samples, about 10 s left\n")
