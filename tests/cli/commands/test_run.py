"""`run`, `retry` and `runs` as one types them, against a real endpoint and a real database."""

import asyncio
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from muser.core.loading import load_recipe
from muser.core.types import Response, SampleInput
from muser.endpoints.simulated.knowledge import rubric
from muser.graph.run import run_recipe
from muser.pipeline.sampling import refine_recipe, refine_roles
from muser.store.file.database import Store

from ..conftest import QUESTIONS, Muser, write_recipe


def test_a_run_shows_progress_and_ends_with_a_summary(muser: Muser, recipe: Path) -> None:
    ended = muser("run", recipe)
    assert ended.code == 0
    assert re.search(r"small: 0/4 done.*\n(.*\n)*.*small: 4/4 done", ended.err)
    assert re.match(r"small: 4 of 4 samples done, in [\d.]+ s\n", ended.out)
    table = {line.split()[0]: line.split()[1] for line in ended.out.splitlines() if line.startswith(("critics", "all"))}
    assert table == {"critics.decision": "4", "critics.safety": "4", "all": "18"}
    assert "    muser export small --stage refine\n" in ended.out
    assert max(len(line) for line in ended.out.splitlines()) <= 80


@pytest.mark.parametrize("lacks", [(), ("cached",), ("cached", "metrics")])
def test_where_replies_tell_no_cached_tokens_the_servers_own_counters_do(
    lacks: tuple[str, ...], muser: Muser, simulate: Callable[..., str], tmp_path: Path
) -> None:
    ended = muser("run", write_recipe(tmp_path, simulate(lacks=lacks)))
    told = re.findall(
        r"^(\d+) % of [\d,]+ prompt tokens cached at http\S+, according to its\s+/metrics", ended.out, re.MULTILINE
    )
    assert len(told) == (lacks == ("cached",)), ended.out
    assert all(int(share) > 10 for share in told)


def test_the_same_command_again_has_nothing_to_do(muser: Muser, recipe: Path) -> None:
    muser("run", recipe)
    ended = muser("run", recipe, "--json")
    assert ended.code == 0
    assert (ended.json()["done"], ended.json()["pending"]) == (4, 0)
    assert "· 0 calls" in ended.err


def test_a_new_run_says_whose_calls_it_reused_and_a_fresh_one_makes_its_own(muser: Muser, recipe: Path) -> None:
    muser("run", recipe)
    assert re.match(r"small-2: 4 of 4 samples done, 18 calls reused from small, in ", muser("run", recipe, "--new").out)
    fresh = muser("run", recipe, "--fresh")
    assert re.match(r"small-3: 4 of 4 samples done, in ", fresh.out)
    assert muser("run", recipe, "--new", "--json").json()["reused_from"] == {"small": 18}


def test_a_run_at_another_address_is_warned_of(
    muser: Muser, recipe: Path, tmp_path: Path, simulate: Callable[..., str]
) -> None:
    muser("run", recipe)
    elsewhere = simulate()
    ended = muser("run", recipe, "--new", "--set", f"models.main.base_url={elsewhere}")
    assert "warning: models.main: run small called simulated at " in ended.err
    assert f"reused as if {elsewhere} served the same model" in " ".join(ended.err.split())


def test_json_leaves_stdout_to_the_summary(muser: Muser, recipe: Path) -> None:
    summary = muser("run", recipe, "--json").json()
    assert summary["run_id"] == "small"
    assert summary["failures"] == []
    assert {usage["role"] for usage in summary["usage"]} >= {"persona", "responder", "refiner", "critics.safety"}


def test_flags_change_the_recipe(muser: Muser, recipe: Path, tmp_path: Path) -> None:
    store = tmp_path / "other: place" / "store.db"
    store.parent.mkdir()
    ended = muser(
        "run",
        recipe,
        "--samples",
        1,
        "--concurrency",
        1,
        "--store",
        store,
        "--set",
        "critics={safety: {prompt: safety.md}}",
    )
    assert ended.code == 0
    assert "3 of 3 samples done" in ended.out
    assert "critics.decision" not in ended.out
    assert f"muser export small --stage refine --store '{store}'" in ended.out
    assert not (tmp_path / "muser.db").exists()


def test_failed_samples_are_grouped_and_tried_again(
    muser: Muser, tmp_path: Path, simulate: Callable[..., str], simulated: str
) -> None:
    recipe = write_recipe(tmp_path, simulate(faults={"malformed": 1.0}))
    ended = muser("run", recipe)
    assert ended.code == 3
    assert "0 of 4 samples done, 4 failed" in ended.out
    assert re.search(r"[1-4] x ReplyError\S* at (decision|safety), for example small/", ended.out)
    assert "Traceback" not in ended.err
    assert "    muser retry small --failed\n" in ended.out
    example = re.search(r"for example (\S+)", ended.out)
    assert example
    assert " · failed" in muser("show", example[1]).out
    again = muser("retry", "small", "--failed", "--json")
    assert again.code == 3, "the endpoint is as it was"
    assert again.json()["failed"] == 4


def test_retry_finishes_what_an_endpoint_that_recovered_can_answer(
    muser: Muser, tmp_path: Path, simulate: Callable[..., str]
) -> None:
    url = simulate(faults={"malformed": 0.3, "500": 0.1})
    recipe = write_recipe(tmp_path, url, extra="repairs: 0\n")
    first = muser("run", recipe, "--json")
    assert first.code == 3
    last = first
    for _ in range(8):
        last = muser("retry", "small", "--failed", "--json")
        if last.code == 0:
            break
        assert last.json()["failed"] <= first.json()["failed"]
    assert (last.code, last.json()["done"]) == (0, 4)


def test_retry_takes_up_a_run_that_was_given_its_responses(
    muser: Muser, tmp_path: Path, simulate: Callable[..., str], simulated: str
) -> None:
    """As a pipeline gives its second run those of the first: the recipe alone could not say what they were."""
    recipe = refine_recipe(load_recipe(write_recipe(tmp_path, simulate(faults={"empty": 1.0}))))
    answered = SampleInput(key="q1", query=QUESTIONS[0], response=Response(reasoning="", answer="Rest."))
    with Store.open(tmp_path / "muser.db") as store:
        given = run_recipe(recipe, store, inputs=[answered], source="rows", roles=refine_roles(recipe))
        assert asyncio.run(given).failed == 1
    ended = muser("retry", "small-refine", "--failed", "--set", f"models.main.base_url={simulated}", "--json")
    assert (ended.code, ended.json()["done"], ended.json()["total"]) == (0, 1, 1)


def test_retry_wants_to_know_what(muser: Muser, recipe: Path) -> None:
    muser("run", recipe)
    ended = muser("retry", "small")
    assert ended.code == 2
    assert "--failed" in ended.err


def test_a_limit_stops_the_run_and_the_same_command_goes_on(muser: Muser, recipe: Path) -> None:
    ended = muser("run", recipe, "--concurrency", 1, "--set", "limits.tokens=100")
    assert ended.code == 4
    assert "stopped at the token limit; resume with:" in ended.out
    assert f"    muser run {recipe} --set limits.tokens=100 --concurrency 1\n" in ended.out
    assert muser("run", recipe).code == 0


class ListsModels(BaseHTTPRequestHandler):
    """Answers that it serves the simulated model."""

    def do_GET(self) -> None:
        body = b'{"data": [{"id": "simulated"}]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def answer_once(server: HTTPServer) -> None:
    """Answers the check that comes before a run, and is gone."""
    server.handle_request()
    server.server_close()


def test_an_endpoint_that_goes_away_stops_the_run_and_fails_no_sample(
    muser: Muser, tmp_path: Path, simulated: str
) -> None:
    with HTTPServer(("127.0.0.1", 0), ListsModels) as server:
        recipe = write_recipe(tmp_path, f"http://127.0.0.1:{server.server_port}/v1", extra="concurrency: 1\n")
        going = threading.Thread(target=answer_once, args=(server,))
        going.start()
        ended = muser("run", recipe)
        going.join()
    assert ended.code == 4
    assert "0 of 4 samples done, 4 pending" in ended.out
    assert "start the server" in ended.out
    assert muser("run", recipe, "--set", f"models.main.base_url={simulated}").code == 0


def test_retry_can_be_pointed_at_another_endpoint(
    muser: Muser, tmp_path: Path, simulate: Callable[..., str], simulated: str
) -> None:
    muser("run", write_recipe(tmp_path, simulate(faults={"empty": 1.0})))
    ended = muser("retry", "small", "--failed", "--set", f"models.main.base_url={simulated}")
    assert ended.code == 0
    assert "4 of 4 samples done" in ended.out


def test_retry_grades_what_an_evaluation_could_not(
    muser: Muser, tmp_path: Path, simulate: Callable[..., str], simulated: str
) -> None:
    benchmark = {"prompt_id": "one", "prompt": [{"role": "user", "content": QUESTIONS[0]}], "example_tags": []}
    line = benchmark | {"rubrics": rubric("asthma", "patient", "Germany")}
    (tmp_path / "benchmark.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    recipe = write_recipe(tmp_path, simulate(faults={"500": 1.0}), extra="evaluation: {file: benchmark.jsonl}\n")
    assert muser("eval", "run", recipe).code == 3
    ended = muser("retry", "small-eval-main", "--failed", "--set", f"models.main.base_url={simulated}", "--json")
    assert (ended.code, ended.json()["done"]) == (0, 1)


def test_runs_lists_them_newest_first(muser: Muser, recipe: Path) -> None:
    muser("run", recipe, "--samples", 0)
    muser("run", recipe, "--new")
    assert [line.split()[0] for line in muser("runs").out.splitlines()] == ["run", "small-2", "small", "simulated"]
    listed = muser("runs", "--json").json()
    assert [(run["id"], run["done"]) for run in listed] == [("small-2", 4), ("small", 2)]


def test_a_run_without_one_finished_sample_has_failed_in_red(
    muser: Muser, tmp_path: Path, simulate: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    ended = muser("run", write_recipe(tmp_path, simulate(faults={"malformed": 1.0})))
    assert ended.code == 3
    assert ended.out.startswith("\x1b[1;31msmall: 0 of 4 samples done, 4 failed")
    assert "\x1b[31mfailed\x1b[0m" in muser("runs").out
    monkeypatch.delenv("FORCE_COLOR")
    assert [(run["status"], run["failed"]) for run in muser("runs", "--json").json()] == [("failed", 4)]


def test_retry_does_without_evaluation(
    muser: Muser, tmp_path: Path, simulate: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    muser("run", write_recipe(tmp_path, simulate(faults={"malformed": 1.0})))
    for module in ("muser.evals.grading", "muser.evals.statistics"):
        monkeypatch.setitem(sys.modules, module, None)  # an import of it raises
    assert muser("retry", "small", "--failed").code == 3


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A run in a process of its own, whose first critic says so when it is called and has one sample in flight."""
    begun = []

    def begin(url: str, *more: str) -> "subprocess.Popen[str]":
        recipe = write_recipe(tmp_path, url, extra="concurrency: 1\n")
        recipe.write_text(recipe.read_text().replace("{prompt: decision.md}", "{function: telling:tell}"))
        (tmp_path / "telling.py").write_text(TELLING)
        command = [sys.executable, "-m", "muser", "run", recipe.name, *more]
        begun.append(subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


TELLING = """\
import sys
from muser.core.types import Critique

async def tell(query, answer, ask):
    print("the critic is called", file=sys.stderr, flush=True)
    return Critique(verdict="pass", rationale="")
"""


def wait_for(process: "subprocess.Popen[str]", text: str) -> None:
    assert process.stderr
    said = ""
    for line in process.stderr:
        said += line
        if text in line:
            return
    pytest.fail(f"the command ended before it said {text!r}:\n{said}")


def test_one_signal_lets_what_is_in_flight_end(muser: Muser, start: Start, simulate: Callable[..., str]) -> None:
    process = start(simulate(latency=0.2), "--json")
    wait_for(process, "the critic is called")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "stopping after the work in flight (1 samples); press Ctrl-C again to stop at once" in err
    assert json.loads(out)["stopped_by"] == "interrupt"
    listed = muser("runs", "--json").json()[0]
    assert (listed["done"], listed["running"], listed["status"]) == (1, 0, "stopped")


@pytest.mark.slow
def test_two_signals_stop_at_once_and_the_run_can_go_on(
    muser: Muser, start: Start, simulate: Callable[..., str]
) -> None:
    process = start(simulate(latency=1.0))
    wait_for(process, "the critic is called")
    process.send_signal(signal.SIGINT)
    wait_for(process, "press Ctrl-C again")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert not out
    assert "stopped at once; every finished call is kept. Resume with: muser run small.yaml" in err
    assert "Traceback" not in err
    assert muser("runs", "--json").json()[0]["done"] == 0
    assert muser("run", "small.yaml", "--set", f"models.main.base_url={simulate()}").code == 0


def test_a_summary_says_how_each_critic_judged_and_hints_at_one_that_passes_everything(
    muser: Muser, tmp_path: Path, simulated: str
) -> None:
    (tmp_path / "lenient_critic.py").write_text(
        "from muser.core.types import Critique\n"
        "async def judge(query, answer, ask):\n"
        "    return Critique(critic='lenient', verdict='pass', rationale='We see nothing to add.')\n"
    )
    recipe = write_recipe(tmp_path, simulated)
    recipe.write_text(recipe.read_text() + "  lenient: {function: 'lenient_critic:judge'}\n")
    ended = muser("run", recipe)
    assert ["lenient", "4", "100", "%", "5"] in [line.split() for line in ended.out.splitlines()]
    assert "lenient passed all 4 answers: it gives the refiner nothing" in " ".join(ended.out.split())
    told = muser("run", recipe, "--json").json()["critics"]
    assert [one["critic"] for one in told] == ["decision", "safety", "lenient"]
    assert told[2] == {"critic": "lenient", "answers": 4, "passed": 4, "words": 5}
    assert 0 < told[0]["words"] != 5


def test_a_run_that_screens_leave_short_says_so_and_fails(muser: Muser, recipe: Path) -> None:
    change = "screens.query=[muser.tests.graph.test_screening:refuse_all]"
    ended = muser("run", recipe, "--samples", 1, "--set", change)
    assert ended.code == 3
    assert "screen muser.tests.graph.test_screening:refuse_all rejected 9 draws" in ended.out + ended.err
    assert "1 samples short of the wanted number, of which three times as many" in ended.out + ended.err
