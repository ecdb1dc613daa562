"""`muser check --probe`: what was found, what to do about it, what a run costs, and an exit code by it."""

from collections.abc import Callable
from pathlib import Path

from muser.pipeline.preflight.estimate import has_gpu

from ..conftest import Muser, write_recipe

Simulate = Callable[..., str]


def test_a_good_server_is_good_in_every_respect_and_a_cost_is_told(muser: Muser, recipe: Path, tmp_path: Path) -> None:
    ended = muser("check", recipe, "--probe", "--tries", 2)
    assert ended.code == 0
    assert "good     structured output, critics: the reply follows the schema" in ended.out
    assert "what 4 samples will cost" in ended.out
    # The simulated endpoint is on this machine, which has a GPU or not.
    assert ("GPU-hours" in ended.out) == has_gpu()
    assert "problem" not in ended.out
    assert all(len(line) <= 80 for line in ended.out.splitlines() if "/" not in line)
    assert not (tmp_path / "muser.db").exists()


def test_a_problem_comes_with_what_to_do_and_exit_code_1(muser: Muser, tmp_path: Path, simulate: Simulate) -> None:
    ended = muser("check", write_recipe(tmp_path, simulate(lacks={"schema"})), "--probe", "--tries", 2)
    assert ended.code == 1
    assert "problem  structured output, critics" in ended.out
    assert "→ set models.main.structured: prompt" in ended.out
    assert "Fix the problems first" in ended.out


def test_json_holds_the_facts_the_findings_and_the_estimate(muser: Muser, recipe: Path) -> None:
    told = muser("check", recipe, "--probe", "--tries", 2, "--gpus", 8, "--json").json()
    assert told["name"] == "small"
    assert {finding["level"] for finding in told["findings"]} == {"good"}
    assert told["estimate"]["gpus"] == 8
    assert told["estimate"]["calls"]["low"] <= told["estimate"]["calls"]["high"]


def test_a_prompt_that_the_simulated_endpoint_cannot_place_is_warned_of(
    muser: Muser, recipe: Path, tmp_path: Path
) -> None:
    lines = [f"{name}: {{{{ attributes.{name}.text }}}}" for name in ("identity", "region", "condition")]
    (tmp_path / "persona.md").write_text("\n".join([*lines, "Ask."]))
    ended = muser("check", recipe, "--probe", "--tries", 2)
    assert ended.code == 0
    assert "hint     simulation, persona: the simulated endpoint cannot tell" in ended.out
