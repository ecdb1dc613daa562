"""Rows of two stages, and a model small enough to train on them within seconds."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muser.core.recipe import TrainingSettings
from muser.trainer.tiny import build_tiny_model

QUERIES = [
    f"{who} has had {what} {since}. What should we do?"
    for who in ("My son", "My mother", "A patient")
    for what in ("a fever", "a cough", "back pain", "a rash")
    for since in ("since Monday", "for two weeks")
]


def example(number: int, query: str) -> dict[str, Any]:
    """A row as the store exports it."""
    answer = f"How old is the person, and is there any other sign? About this I can say: {query[:40]}"
    return {
        "prompt": [{"role": "user", "content": query}],
        "completion": [{"role": "assistant", "content": f"<think>\nWe should ask for the age.\n</think>\n\n{answer}"}],
        "run": "demo",
        "sample": f"demo/s{number:04d}",
        "prompts": {"responder": "0" * 64},
    }


@pytest.fixture(scope="session")
def examples() -> list[dict[str, Any]]:
    return [example(number, query) for number, query in enumerate(QUERIES, start=1)]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes values as JSON lines, and texts as they are."""

    def to_file(*lines: dict[str, Any] | str, name: str = "rows.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
        return path

    return to_file


@pytest.fixture
def rows(write: Callable[..., Path], examples: list[dict[str, Any]]) -> Path:
    return write(*examples)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, examples: list[dict[str, Any]]) -> Path:
    texts = (message["content"] for row in examples for message in row["prompt"] + row["completion"])
    return build_tiny_model(tmp_path_factory.mktemp("base") / "tiny", texts, vocabulary=400, hidden=96, layers=2)


@pytest.fixture
def settings() -> Callable[..., TrainingSettings]:
    """Six steps in all for the rows above; stage settings by name, `method` apart."""

    def make(method: str = "full", **stage: Any) -> TrainingSettings:
        own = {"epochs": 2, "batch_size": 8, "learning_rate": 3e-3, "max_length": 256, "save_steps": 2} | stage
        fields = {"model": "student", "method": method, "lora": {"r": 8, "alpha": 16}, "distill": own, "refine": own}
        return TrainingSettings.model_validate(fields)

    return make
