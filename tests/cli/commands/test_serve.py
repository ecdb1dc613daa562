"""`muser serve`: what it says, who uses the server, and what is left after every ending.

The server here is a program that only says it is healthy, with a worker beside it that ignores SIGTERM; it is started
and stopped as vLLM is. tests/vllm has the same with a real one.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from muser.core.loading import parse_recipe
from muser.endpoints.server.registry import Card, announced, running
from muser.pipeline.servers import KEY

from ...endpoints.server.test_launch import descendants
from ...endpoints.server.test_watchdog import is_gone, wait_for
from ..conftest import Muser
from ..test_outputs import as_declared

RECIPE = """\
name: served
queries: questions.jsonl
models:
  main: {model: model, timeout: 20, serve: {start_timeout: 30}}
  other: {base_url: "http://127.0.0.1:9/v1", model: other}
roles: {responder: main}
"""
# muser, with another program in the place of `transformers serve`.
PROGRAM = """
import subprocess, sys
from muser.cli.app import main
from muser.endpoints.server import launch
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
SERVER = '''
import http.server, subprocess, sys
_, port, manner, worker = sys.argv
subprocess.Popen([sys.executable, "-c", worker])
if manner == "fail":
    sys.exit("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB.")
if manner == "hang":
    __import__("time").sleep(60)
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(port)), Healthy).serve_forever()
'''
manner = sys.argv.pop(1)
launch.serving_engines = lambda: ["transformers"]
launch.transformers_command = lambda weights, port, folder: [
    sys.executable, "-c", SERVER, str(port), manner, STUBBORN]
main()
"""
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def recipe_folder(tmp_path: Path) -> Path:
    """The folder of the recipe, a model and a query."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "questions.jsonl").write_text('{"query": "Is honey good for a sore throat?"}\n')
    (tmp_path / "served.yaml").write_text(RECIPE)
    return tmp_path


@pytest.fixture
def start(recipe_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts `muser serve`: how the server behaves, further arguments → the process."""
    monkeypatch.delenv(KEY, raising=False)
    started: list[subprocess.Popen[str]] = []

    def run(manner: str, *arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", PROGRAM, manner, *arguments]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, cwd=recipe_folder, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def read_up_to(process: "subprocess.Popen[str]", words: str) -> str:
    """What it wrote to stderr up to a line with these words."""
    seen = ""
    assert process.stderr
    for line in process.stderr:
        seen += line
        if words in line:
            return seen
    pytest.fail(f"it ended after: {seen}")


def test_it_says_where_the_model_is_and_how_to_use_it_and_ctrl_c_stops_all(start: Start, tmp_path: Path) -> None:
    muser = start("serve", "serve", "served.yaml")
    said = read_up_to(muser, "Ctrl-C")
    servers = descendants(muser.pid)
    assert len(servers) == 3
    muser.send_signal(signal.SIGINT)
    out, err = muser.communicate(timeout=30)
    assert muser.returncode == 0
    url, snippet = out.split("\n", 1)
    recipe = parse_recipe(f"name: x\n{snippet}", tmp_path)
    assert (recipe.models["main"].base_url, recipe.models["main"].model) == (url, "main-base")
    assert recipe.models["main"].structured == "prompt", "transformers serve ignores JSON schemas"
    assert "main is up after" in said
    assert "(structured: prompt)" in said
    assert "output/logs/main-base.log" in said
    assert "needs no key" in said
    assert "stopped in" in err
    assert all(map(is_gone, servers))
    assert running(tmp_path / "output" / "servers") == []
    assert "GET /health" in (tmp_path / "output" / "logs" / "main-base.log").read_text()


@pytest.mark.slow
def test_a_port_can_be_chosen_and_json_has_it_all(start: Start, muser: Muser, tmp_path: Path) -> None:
    from muser.endpoints.server import launch

    port = launch._take_port(0)
    serve = start("serve", "serve", "served.yaml", "main", "--port", str(port), "--json")
    read_up_to(serve, "Ctrl-C")
    there = running(tmp_path / "output" / "servers")
    again = muser("serve", "served.yaml", "main")
    assert (again.code, "already served" in again.err) == (1, True)
    serve.send_signal(signal.SIGTERM)
    out, _ = serve.communicate(timeout=30)
    told = json.loads(out)
    assert urlsplit(told["base_url"]).port == port
    assert [card.base_url for card in there] == [told["base_url"]]
    as_declared("serve", told)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("manner", ["serve", "hang"])
def test_a_signal_at_any_time_leaves_no_process(
    start: Start, tmp_path: Path, manner: str, ending: signal.Signals
) -> None:
    muser = start(manner, "serve", "served.yaml")
    read_up_to(muser, "Ctrl-C" if manner == "serve" else "starting")
    wait_for(lambda: len(descendants(muser.pid)) == 3)
    servers = descendants(muser.pid)
    muser.send_signal(ending)
    muser.communicate(timeout=30)
    assert muser.returncode == {signal.SIGKILL: -9}.get(ending, 0 if manner == "serve" else 130)
    wait_for(lambda: all(map(is_gone, servers)))
    assert running(tmp_path / "output" / "servers") == []


@pytest.mark.slow
def test_a_server_that_ends_by_itself_is_an_error_with_its_last_lines(start: Start) -> None:
    muser = start("serve", "serve", "served.yaml")
    read_up_to(muser, "Ctrl-C")
    servers = descendants(muser.pid)
    os.kill(servers[1], signal.SIGKILL)
    _, err = muser.communicate(timeout=30)
    assert muser.returncode == 1
    assert "exited unexpectedly with status 137" in err
    assert all(map(is_gone, servers))


def test_a_failing_start_is_one_message_with_its_cause(start: Start) -> None:
    muser = start("fail", "serve", "served.yaml")
    out, err = muser.communicate(timeout=30)
    assert (muser.returncode, out) == (1, "")
    assert "the server for main-base failed to start: there is not enough memory: CUDA out of memory" in err
    assert "serve.gpu_memory_utilization" in err
    assert "Traceback" not in err


def test_what_cannot_be_served_is_refused_at_once(recipe_folder: Path, muser: Muser, simulated: str) -> None:
    for words, said in (
        (["other"], "has an address"),
        (["mian"], "did you mean main"),
        (["main@distill"], "main has no stages"),
        (["main@best"], "available: base, distill, refine"),
        (["main", "--port", urlsplit(simulated).port], "is in use"),
        (["main", "--set", "models.main.model=./nowhere"], "there is no model folder"),
        (["main", "--set", "models.main.model=."], "config.json is missing"),
    ):
        ended = muser("serve", "served.yaml", *words)
        assert (ended.code, ended.out) == (1, "")
        assert said in ended.err


def test_a_run_a_check_and_a_probe_use_the_server_that_is_up(muser: Muser, recipe_folder: Path, simulated: str) -> None:
    there = Card(engine="vllm", name="simulated", path=str(recipe_folder / "model"), base_url=simulated, pid=1)
    with announced(recipe_folder / "output" / "servers", there):
        ran, probed = muser("run", "served.yaml", "--json"), muser("check", "served.yaml", "--probe")
    assert (ran.code, ran.json()["done"]) == (0, 1)
    assert "serving main" not in ran.err + probed.err
    assert f"at {simulated} serves simulated" in " ".join(probed.out.split())
