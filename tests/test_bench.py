"""Every benchmark still runs, at its smallest size; prefix_cache and server need vLLM, real_model much time."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "bench"
SIZES = {
    "coverage": ("--samples", "500"),
    "evals": ("--graded", "2", "--examples", "20", "--rounds", "1"),
    "listing": ("--samples", "50"),
    "run": ("--samples", "4", "--rounds", "1"),
    "scale": ("--samples", "2100"),  # 1,000 are run; the sample in the middle is a copy
    "screens": ("--draws", "1000", "--samples", "4"),
    "simulated": ("20",),
    "space": ("--samples", "4"),
    "start": ("--times", "1"),
    "store": ("--samples", "20"),
    "viewer": ("--samples", "60"),
    "where": ("--samples", "4"),
}


def test_every_benchmark_is_known() -> None:
    scripts = {path.stem for path in BENCH.glob("*.py") if '__name__ == "__main__"' in path.read_text("utf-8")}
    assert scripts == {*SIZES, "prefix_cache", "real_model", "server"}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SIZES)
def test_a_benchmark_runs(name: str) -> None:
    ended = subprocess.run(
        [sys.executable, BENCH / f"{name}.py", *SIZES[name]], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert any(character.isdigit() for character in ended.stdout)
