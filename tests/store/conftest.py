"""A store in a temporary folder, with a run in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from muser.store.file.database import Store
from muser.store.records.runs import Run, create_run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "muser.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store.open(path) as opened:
        yield opened


@pytest.fixture
def run(store: Store) -> Run:
    described = Run(
        id="demo", name="demo", recipe="name: demo\n", identity={"seed": 1}, fingerprint="f", prompts={"persona": "p"}
    )
    return create_run(store, described)
