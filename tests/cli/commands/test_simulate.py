"""`muser simulate` in a process of its own."""

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from ..conftest import Muser


def test_it_says_where_it_listens_serves_and_ends_on_a_signal(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "muser", "simulate", "--port", "0", "--fault", "429=1", "--log", "log.jsonl"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    url = process.stdout.readline().strip()
    with urllib.request.urlopen(f"{url}/models", timeout=10) as answer:
        assert json.load(answer)["data"][0]["id"] == "simulated"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "simulated" in err
    assert f"muser init --endpoint {url}" in err


def test_a_fault_that_is_none_is_refused(muser: Muser) -> None:
    assert muser("simulate", "--fault", "429").code == 2
    ended = muser("simulate", "--fault", "42=0.1", "--port", 0)
    assert ended.code == 1
    assert "unknown fault 42" in ended.err


def test_a_port_that_is_taken_is_said_to_be(muser: Muser, simulated: str) -> None:
    ended = muser("simulate", "--port", urlsplit(simulated).port)
    assert ended.code == 1
    assert "cannot listen" in ended.err


def test_whatever_a_recipe_calls_it_the_endpoint_itself_says_that_it_is_simulated(
    muser: Muser, recipe: Path, tmp_path: Path
) -> None:
    recipe.write_text(recipe.read_text().replace("  main: {", "  gpt-9: {"))
    assert "\nsimulated: a script replied, not a model" in muser("run", recipe).out
    assert "\nsimulated (a script replied, not a model): small" in muser("runs").out
    assert "simulated (a script replied, not a model): 4" in muser("list", "small").out
    assert " · simulated\n" in muser("show", "small/s000001").out
    muser("replay", "small/s000001", "--from", "refine", "--set", "rounds=2")
    assert [run["simulated"] for run in muser("runs", "--json").json()] == [True, True]
