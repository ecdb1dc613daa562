"""A recipe of two-stage training against the simulated endpoint, a store, and a benchmark of three examples."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from muser.core.recipe import Recipe
from muser.endpoints.simulated.knowledge import rubric
from muser.store.file.database import Store

CRITICS = {name: {"prompt": f"{name}.md"} for name in ("decision", "communication", "safety")}
STAGE = {"epochs": 1, "batch_size": 2, "learning_rate": 3e-3, "max_length": 900, "save_steps": 1}
ASKED = {"chest pain": "I have pressing chest pain.", "asthma": "I am wheezing.", "back pain": "My back hurts."}

MakeRecipe = Callable[..., Recipe]


def benchmark_lines() -> str:
    lines = [
        {
            "prompt_id": f"b{number}",
            "prompt": [{"role": "user", "content": query}],
            "rubrics": rubric(condition, "patient", "Germany")[:4],
            "example_tags": ["theme:context_seeking"],
        }
        for number, (condition, query) in enumerate(ASKED.items())
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


@pytest.fixture
def make_recipe(tmp_path: Path) -> MakeRecipe:
    """Recipes whose student is the folder `student` beside them; keywords are the recipe's own settings."""
    (tmp_path / "benchmark.jsonl").write_text(benchmark_lines(), encoding="utf-8")

    def make(base_url: str, **settings: Any) -> Recipe:
        values: dict[str, Any] = {
            "name": "trial",
            "samples": 4,
            "models": {
                "sim": {"base_url": base_url, "model": "simulated", "retries": 2, "timeout": 10},
                "student": {"model": "student", "temperature": 0, "max_tokens": 24, "timeout": 120},
            },
            "roles": dict.fromkeys(("persona", "responder", "critic", "refiner", "judge"), "sim"),
            "critics": CRITICS,
            "training": {"model": "student", "method": "full", "precision": "fp32", "distill": STAGE, "refine": STAGE},
            "evaluation": {"file": "benchmark.jsonl"},
            "store": str(tmp_path / "muser.db"),
            "output": str(tmp_path / "output"),
            "folder": tmp_path,
        }
        return Recipe(**values | settings)

    return make


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "muser.db") as opened:
        yield opened
