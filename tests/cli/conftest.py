"""The real command line, called in this process against a real simulated endpoint."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from muser.cli.app import main
from muser.endpoints.simulated.knowledge import rubric

QUESTIONS = ("My chest feels tight when I climb stairs.", "Is honey good for a sore throat?")


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


Muser = Callable[..., Ended]


@pytest.fixture
def muser(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Muser:
    """Runs `muser ARGUMENTS` in a folder of its own, 80 columns wide."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "path", [*sys.path])

    def call(*arguments: object) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        return Ended(int(end.value.code or 0), *capsys.readouterr())

    return call


def write_recipe(folder: Path, url: str, *, extra: str = "", samples: int = 2) -> Path:
    """A small recipe: simulated users and two questions, two critics."""
    asked = enumerate(QUESTIONS, start=1)
    lines = [json.dumps({"id": f"q{number:06d}", "query": question}) + "\n" for number, question in asked]
    (folder / "questions.jsonl").write_text("".join(lines), encoding="utf-8")
    path = folder / "small.yaml"
    path.write_text(
        f"""\
name: small
samples: {samples}
queries: questions.jsonl
models:
  main: {{base_url: "{url}", model: simulated, timeout: 20, retries: 1}}
critics:
  decision: {{prompt: decision.md}}
  safety: {{prompt: safety.md}}
{extra}""",
        encoding="utf-8",
    )
    return path


@pytest.fixture
def recipe(tmp_path: Path, simulated: str) -> Path:
    """The small recipe at a simulated endpoint without faults."""
    return write_recipe(tmp_path, simulated)


@pytest.fixture
def benchmarked(tmp_path: Path, simulated: str) -> Path:
    """The small recipe with a benchmark of two examples."""
    asked = {"chest pain": "I have pressing chest pain.", "asthma": "I have asthma and I am wheezing."}
    lines = [
        {
            "prompt_id": condition,
            "prompt": [{"role": "user", "content": query}],
            "rubrics": rubric(condition, "patient", "Germany"),
            "example_tags": ["theme:context_seeking"],
        }
        for condition, query in asked.items()
    ]
    (tmp_path / "benchmark.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return write_recipe(tmp_path, simulated, extra="evaluation: {file: benchmark.jsonl}\n")
