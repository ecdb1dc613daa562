"""docs/debugging.md and the README say what the program says: their commands run, their outputs are compared.

A line of … stands for any lines, … in a line for any text. White space, decimal numbers (times) and the order in which
parallel calls came back, which numbers them, are not compared.
"""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from muser.cli.commands.simulate import PASSING

from .conftest import Muser

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "debugging.md"
BLOCK = re.compile(r"^```(\w+)(?: ([\w./-]+))?\n(.*?)^```", re.MULTILINE | re.DOTALL)
VARIES = ((r"\(call \d+\)", "(call #)"), (r"\d+\.\d+", "#"), (r"\d+ min \d+ s|\b\d+ s\b", "# s"), (r"[ \t]+", " "))


def compared(text: str) -> str:
    for pattern, instead in VARIES:
        text = re.sub(pattern, instead, text)
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def fits(output: str, shown: str) -> bool:
    """Each stretch between lines of … stands in the output as it is, one after the other; the ends are ends."""
    stretches = [part.strip("\n") for part in re.split(r"^…$", shown, flags=re.MULTILINE)]
    lines = [r"[^\n]*".join(map(re.escape, stretch.split("…"))) + r"\n" * bool(stretch) for stretch in stretches]
    pattern = r"(?:.*\n)?".join(lines)
    return re.fullmatch(pattern, f"{output}\n", re.DOTALL) is not None


@pytest.mark.slow
def test_the_walk_through_shows_what_the_commands_print(
    muser: Muser, simulate: Callable[..., str], tmp_path: Path
) -> None:
    url = simulate(faults={"malformed": 0.25})
    checked = 0
    for language, file, body in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if file:
            (tmp_path / file).write_text(body.replace("http://127.0.0.1:8399/v1", url), encoding="utf-8")
        if language != "console":
            continue
        for step in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
            line, _, shown = step.partition("\n")
            ended = muser(*shlex.split(line)[1:])
            output = ended.err if ended.code == 1 else ended.out
            assert fits(compared(output), compared(shown)), f"$ {line}\n{output}"
            checked += 1
    assert checked >= 8


@pytest.mark.slow
def test_the_readmes_quick_start_shows_what_the_commands_print(
    muser: Muser, simulate: Callable[..., str], tmp_path: Path
) -> None:
    url = simulate(passing=PASSING)
    recipe = (ROOT / "recipes" / "quickstart.yaml").read_text(encoding="utf-8")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "quickstart.yaml").write_text(recipe.replace("http://127.0.0.1:8399/v1", url))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"^<!-- quickstart -->\n```console\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)[0]
    steps = re.split(r"^\$ ", shown, flags=re.MULTILINE)[1:]
    assert len(steps) == 2
    for line, _, output in (step.partition("\n") for step in steps):
        ended = muser(*shlex.split(line)[1:])
        assert fits(compared(ended.out), compared(output)), f"$ {line}\n{ended.out}"


def test_the_comparison_notices_what_differs() -> None:
    assert fits("a\nb\nc", "a\n…\nc")
    assert fits("a\nc", "a\n…\nc")
    assert fits("one two three", "one…three")
    assert not fits("a\nb\nc", "a\nc")
    assert not fits("a\nb\nc", "…\nb")
    assert not fits("one two\nthree", "one…three")
