"""`muser model` and `muser data`: wrong names and existing files. Tests in tests/real fetch the real ones."""

import json
from pathlib import Path

import pytest

from muser.core.packaged import BENCHMARKS, CACHE, HEALTHBENCH
from tests.cli.conftest import Muser


@pytest.mark.parametrize(("command", "named"), [("model", "smollm2"), ("data", "healthbench-500")])
def test_an_unknown_name_is_answered_with_the_known_one(command: str, named: str, muser: Muser) -> None:
    ended = muser(command, named + "x")
    assert ended.code == 1
    assert f"did you mean {named}?" in ended.err


def test_a_benchmark_is_written_once_and_never_over_another_file(
    muser: Muser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace
    from hashlib import sha256

    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    monkeypatch.setitem(BENCHMARKS, HEALTHBENCH.name, replace(HEALTHBENCH, sha256=sha256(b"{}\n").hexdigest()))
    HEALTHBENCH.cached.parent.mkdir(parents=True)
    HEALTHBENCH.cached.write_bytes(b"{}\n")
    for _ in range(2):
        ended = muser("data", "--json")
        assert ended.code == 0, ended.err
        assert json.loads(ended.out)["file"] == "healthbench-500.jsonl"
    mine = tmp_path / "mine.jsonl"
    mine.write_text("mine")
    ended = muser("data", "--out", str(mine))
    assert ended.code == 1
    assert "the file exists and is another one" in ended.err
    assert mine.read_text() == "mine"
    ended = muser("data", "--out", str(tmp_path / "no" / "folder.jsonl"))
    assert ended.code == 1
    assert "cannot be written" in ended.err
