"""`muser demo`, once and again."""

from pathlib import Path

import pytest

from muser.cli import demo

from .conftest import Muser


def test_the_demo_runs_everything_and_says_that_it_is_simulated(
    muser: Muser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "LATENCY", 0.0)
    monkeypatch.setattr(demo, "SAMPLES", 2)
    first = muser("demo")
    assert first.code == 0
    assert "SIMULATED" in first.err
    assert "demo: 22 of 22 samples done" in first.out
    assert "22 rows of stage refine in demo/demo-refine.jsonl" in first.out
    assert len((tmp_path / "demo" / "demo-distill.jsonl").read_text().splitlines()) == 22
    again = muser("demo")
    assert again.code == 0
    assert "· 0 calls" in again.err
    assert muser("show", "demo/s000001", "--store", "demo/muser.db").code == 0
