"""`muser run --workers` in real processes: refusing and joining, Ctrl-C, and what is left when one is killed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import muser.graph.run  # noqa: F401 - takes seconds, in which a run that is to be met would end
from muser.store.file.database import Store
from muser.store.records.workers import workers_of

from .conftest import Muser, write_recipe


@contextmanager
def running(folder: Path, *more: str) -> Iterator["subprocess.Popen[str]"]:
    """A `muser run` in a process of its own."""
    command = [sys.executable, "-m", "muser", "run", "small.yaml", *more]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, stderr=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(folder: Path, look: Callable[[Store], Any]) -> Any:
    """What `look` finds in the store, as soon as it finds something."""
    deadline = time.monotonic() + 50
    while time.monotonic() < deadline:
        if (folder / "muser.db").exists():
            with Store.open(folder / "muser.db") as store:
                if found := look(store):
                    return found
        time.sleep(0.05)
    pytest.fail("it never came to that")


def holders(store: Store) -> int:
    """How many workers have a sample."""
    sql = "SELECT count(DISTINCT worker) AS n FROM samples WHERE status = 'running'"
    return int(store.read(sql)[0]["n"])


@pytest.mark.slow
def test_a_second_run_is_refused_by_name_and_joins_with_workers(
    muser: Muser, tmp_path: Path, simulate: Callable[..., str]
) -> None:
    recipe = write_recipe(tmp_path, simulate(latency=0.5), extra="concurrency: 1\n", samples=14)
    with running(tmp_path) as first:
        wait_until(tmp_path, holders)
        refused = muser("run", recipe)
        assert refused.code == 1
        assert f"is already running in process {first.pid}" in refused.err
        assert "--workers 1" in refused.err
        joined = muser("run", recipe, "--workers", 1, "--concurrency", 9, "--json")
        assert (joined.code, joined.json()["done"], joined.json()["pending"]) == (0, 16, 0), "it waits for the first"
        out, err = first.communicate(timeout=30)
        assert first.returncode == 0, err
        assert "16 of 16 samples done" in out


@pytest.mark.slow
def test_ctrl_c_stops_all_workers_once_what_they_have_is_done(
    muser: Muser, tmp_path: Path, simulate: Callable[..., str]
) -> None:
    write_recipe(tmp_path, simulate(latency=0.5), extra="concurrency: 2\n", samples=50)
    with running(tmp_path, "--workers", "2", "--json") as pool:
        wait_until(tmp_path, lambda store: holders(store) == 2)
        os.kill(pool.pid, signal.SIGINT)
        out, err = pool.communicate(timeout=40)
    assert pool.returncode == 130, err
    assert "stopping after the work in flight" in err
    summary = json.loads(out)
    assert summary["stopped_by"] == "interrupt"
    assert summary["done"] >= 2
    listed = muser("runs", "--json").json()[0]
    assert (listed["running"], listed["status"], listed["pending"]) == (0, "stopped", 52 - summary["done"])


@pytest.mark.slow
def test_workers_whose_pool_was_killed_exit_by_themselves(
    muser: Muser, tmp_path: Path, simulate: Callable[..., str], simulated: str
) -> None:
    recipe = write_recipe(tmp_path, simulate(latency=0.5), extra="concurrency: 2\n", samples=50)
    with running(tmp_path, "--workers", "2") as pool:
        wait_until(tmp_path, lambda store: holders(store) == 2)
        pool.kill()
    wait_until(tmp_path, lambda store: not workers_of(store))
    listed = muser("runs", "--json").json()[0]
    assert listed["running"] == 0, "what they had in flight ended"
    assert listed["done"] >= 2
    ended = muser("run", recipe, "--workers", 2, "--set", f"models.main.base_url={simulated}")
    assert ended.code == 0
    assert re.search("52 of 52 samples done", ended.out)
