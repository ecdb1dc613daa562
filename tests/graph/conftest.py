"""A recipe against the simulated endpoint, a store in a folder of the test's own, and commands that can be killed."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from muser.core.recipe import Recipe
from muser.store.file.database import Store

from .harness import Harness
from .killable import KillableCommands

CRITICS = {name: {"prompt": f"{name}.md"} for name in ("decision", "communication", "safety")}


@pytest.fixture
def make_recipe(tmp_path: Path) -> Callable[..., Recipe]:
    """Recipes of three simulated critics; `model` gives the model's settings, the rest the recipe's."""

    def make(base_url: str, *, model: dict[str, Any] | None = None, **settings: Any) -> Recipe:
        models = {"sim": {"base_url": base_url, "model": "simulated", "retries": 2, "timeout": 10} | (model or {})}
        return Recipe(**{"name": "trial", "models": models, "critics": CRITICS, "folder": tmp_path} | settings)

    return make


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "muser.db") as opened:
        yield opened


@pytest.fixture(scope="session")
def commands() -> Iterator[KillableCommands]:
    with KillableCommands() as started:
        yield started


@pytest.fixture
def make_harness(tmp_path: Path, commands: KillableCommands, simulate: Callable[..., str]) -> Callable[..., Harness]:
    """Makes a harness with a recipe of so many samples at a simulated endpoint."""

    def make(
        samples: int = 1, *, folder: str = "", concurrency: int = 1, model: str = "", extra: str = "", **endpoint: Any
    ) -> Harness:
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        url = simulate(log=place / "log", **endpoint)
        (place / "trial.yaml").write_text(f"""\
name: trial
samples: {samples}
concurrency: {concurrency}
models:
  sim: {{base_url: "{url}", model: simulated{model}}}
critics: {json.dumps(CRITICS)}
{extra}""")
        return Harness(place, commands, url)

    return make
