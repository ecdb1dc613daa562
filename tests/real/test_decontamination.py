"""Copies of the real HealthBench's prompts among other prompts of it: the targets of docs/data.md.

No text of HealthBench may stand here or be printed: it carries a canary.
"""

import json
import random
from pathlib import Path

import pytest

from muser.core.jsonl import read_lines
from muser.core.packaged import HEALTHBENCH, fetch
from muser.screens.decontamination import Benchmark
from muser.screens.planting import score_nets
from muser.screens.references import read_references

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


def test_copies_of_half_of_healthbench_are_found_among_the_prompts_of_the_other_half(tmp_path: Path) -> None:
    lines = [line for _, line in read_lines(fetch(HEALTHBENCH))]
    random.Random(0).shuffle(lines)
    half = tmp_path / "half.jsonl"
    half.write_bytes(b"\n".join(lines[:250]))
    own = [json.loads(line)["prompt"][-1]["content"] for line in lines[250:]]
    scores = {one.copies: one for one in score_nets(own, Benchmark(read_references([half]))) if one.net == "any"}
    assert scores["verbatim"].planted == 250
    assert scores["verbatim"].recall >= 0.99
    assert scores["truncated"].recall >= 0.95
    assert scores["reworded"].recall >= 0.8
    assert all(one.precision is not None and one.precision >= 0.9 for one in scores.values())
