"""`muser run --follow`: a line for each sample that ends."""

import json
import os
from pathlib import Path

import pytest

from muser.cli.printing.follow import sample_line, write_line
from muser.store.queries.listing import SampleLine

from ..conftest import Muser

LINE = SampleLine(
    id="demo/s000001", run_id="demo", key="s000001", status="done", verdicts={"decision": "pass", "safety": "revise"},
    score=None, rounds=1, tokens=4128, seconds=0.31, cause_kind=None, failed_node=None, query="q", finished_at="2026",
    pruned=False, simulated=False,
)  # fmt: skip


def test_a_line_has_key_end_verdicts_tokens_and_seconds() -> None:
    assert sample_line(LINE) == "s000001 done  decision ✓ safety ✎  4,128 tokens  0.3 s"


def test_a_failed_sample_says_where_and_how() -> None:
    failed = {"status": "failed", "cause_kind": "ReplyError.malformed", "failed_node": "safety\x1b[2J", "verdicts": {}}
    line = sample_line(LINE.model_copy(update=failed))
    assert line == "s000001 failed at safety: malformed  4,128 tokens  0.3 s"


def test_each_sample_is_a_line_before_the_summary(muser: Muser, recipe: Path) -> None:
    ended = muser("run", recipe, "--follow")
    lines = ended.out.splitlines()
    assert sorted(line.split()[0] for line in lines[:4]) == ["q000001", "q000002", "s000001", "s000002"]
    assert "safety" in lines[0]
    assert lines[4].startswith("small: 4 of 4 samples done")
    again = muser("run", recipe, "--follow", "--samples", 3)
    assert again.out.startswith("s000003 done")
    assert again.out.splitlines()[1].startswith("small: 5 of 5")


def test_followed_as_json_every_line_is_a_value_and_the_last_one_the_summary(muser: Muser, recipe: Path) -> None:
    *samples, summary = map(json.loads, muser("run", recipe, "--follow", "--json").out.splitlines())
    assert sorted(line["key"] for line in samples) == ["q000001", "q000002", "s000001", "s000002"]
    assert summary["done"] == 4


def test_a_reader_that_goes_away_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w", encoding="utf-8") as gone:
        monkeypatch.setattr("sys.stdout", gone)
        write_line("nobody reads this")
        write_line("nor this")
