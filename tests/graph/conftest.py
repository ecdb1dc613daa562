"""A recipe against the simulated endpoint, and a store in a folder of the test's own."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from muser.core.recipe import Recipe
from muser.store.database import Store

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
