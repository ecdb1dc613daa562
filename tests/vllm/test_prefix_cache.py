"""What critics and the refiner share is in a real vLLM's cache, nearly all of it: bench/prefix_cache.py, made small."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "prefix_cache.py"


@pytest.mark.vllm
def test_critics_and_refiner_find_what_they_share_in_the_cache(vllm: str) -> None:
    arguments = ["--base-url", vllm, "--model", "tiny-base", "--samples", "6", "--answer", "4000", "--json"]
    done = subprocess.run([sys.executable, str(BENCH), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = json.loads(done.stdout)
    assert found["of_ceiling"] >= 0.95
    assert found["ratio"] >= 1.8
    for run in ("ours", "other"):
        assert found[run]["usage"] == found[run]["metrics"], "each role's usage tells what the server counted"


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_they_find_it_as_well_where_several_engines_share_a_port() -> None:
    arguments = ["--engines", "2", "--samples", "8", "--answer", "4000", "--json"]
    done = subprocess.run([sys.executable, str(BENCH), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = json.loads(done.stdout)
    assert found["of_ceiling"] >= 0.95
