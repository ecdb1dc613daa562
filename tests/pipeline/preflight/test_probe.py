"""Every way in which a server can be wrong for a recipe is found out over HTTP, with what to do about it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from muser.core.recipe import Recipe
from muser.endpoints.server.registry import Card, announced
from muser.graph.progress import Progress
from muser.graph.run import run_recipe
from muser.pipeline.preflight.probe import Probe, probe_recipe
from muser.pipeline.preflight.trial_run import Finding
from muser.store.file.database import Store
from muser.store.records.ledger import usage_by_role

Simulate = Callable[..., str]
CRITICS = ("critics.decision", "critics.safety")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "muser.db") as opened:
        yield opened


def make(base_url: str, folder: Path, *, model: dict[str, Any] | None = None, **settings: Any) -> Recipe:
    models = {"sim": {"base_url": base_url, "model": "simulated", "retries": 0, "timeout": 10, **(model or {})}}
    critics = {name.partition(".")[2]: {"prompt": f"{name.partition('.')[2]}.md"} for name in CRITICS}
    recipe = {"name": "trial", "samples": 30, "models": models, "critics": critics, "folder": folder}
    return Recipe.model_validate(recipe | settings)


def found(probe: Probe, what: str, level: str) -> Finding:
    return next(f for f in probe.findings if (f.what, f.level) == (what, level))


async def test_a_server_that_has_everything_has_no_problem_and_a_cost(
    simulated: str, tmp_path: Path, store: Store
) -> None:
    probe = await probe_recipe(make(simulated, tmp_path), store)
    assert {finding.level for finding in probe.findings} == {"good"}
    assert {f.what for f in probe.findings} == {
        "server", "structured output", "samples", "verdicts", "reasoning", "cached tokens", "context",
    }  # fmt: skip
    assert probe.estimate is not None
    assert (probe.estimate.samples, probe.estimate.tried) == (30, 4)
    assert json.loads(json.dumps(probe.to_dict()))["estimate"]["calls"]["value"] == 30 * 5
    assert store.read("SELECT count(*) AS runs FROM runs") == [{"runs": 0}], "the recipe's own store is only read"


async def test_what_was_estimated_is_what_the_run_takes(simulated: str, tmp_path: Path, store: Store) -> None:
    recipe = make(simulated, tmp_path)
    estimate = (await probe_recipe(recipe, store, tries=8)).estimate
    assert estimate is not None
    await run_recipe(recipe, store)
    usage = usage_by_role(store, "trial")
    assert estimate.calls.value == sum(line.calls for line in usage)
    for interval, spent in (
        (estimate.tokens_in, sum(line.tokens_in for line in usage)),
        (estimate.tokens_out, sum(line.tokens_out for line in usage)),
    ):
        width = max(interval.high - interval.low, 0.02 * spent)
        assert interval.low - width <= spent <= interval.high + width


async def test_a_server_that_ignores_schemas_is_found_out(simulate: Simulate, tmp_path: Path, store: Store) -> None:
    probe = await probe_recipe(make(simulate(lacks={"schema"}), tmp_path), store)
    finding = found(probe, "structured output", "problem")
    assert finding.roles == CRITICS
    assert "models.sim.structured: prompt" in finding.todo
    assert probe.problems >= 1


async def test_with_the_schema_in_the_prompt_the_same_server_is_good(
    simulate: Simulate, tmp_path: Path, store: Store
) -> None:
    recipe = make(simulate(lacks={"schema"}), tmp_path, model={"structured": "prompt"})
    probe = await probe_recipe(recipe, store)
    assert found(probe, "structured output", "good").roles == CRITICS
    assert probe.problems == 0


async def test_prose_around_json_is_a_hint_where_the_prompt_asks(
    simulate: Simulate, tmp_path: Path, store: Store
) -> None:
    recipe = make(simulate(faults={"prose": 1.0}), tmp_path, model={"structured": "prompt"})
    probe = await probe_recipe(recipe, store)
    assert "prose" in found(probe, "structured output", "hint").seen
    assert found(probe, "replies", "hint").roles[0] in CRITICS
    assert probe.estimate is not None


async def test_what_a_server_does_not_tell_is_a_hint(simulate: Simulate, tmp_path: Path, store: Store) -> None:
    probe = await probe_recipe(make(simulate(lacks={"reasoning", "cached"}), tmp_path), store)
    assert "--reasoning-parser" in found(probe, "reasoning", "hint").todo
    assert "--enable-prompt-tokens-details" in found(probe, "cached tokens", "hint").todo
    assert probe.problems == 0


async def test_reasoning_that_is_turned_off_is_not_missed(simulate: Simulate, tmp_path: Path, store: Store) -> None:
    roles = {"responder": {"model": "sim", "reasoning": "off"}}
    probe = await probe_recipe(make(simulate(), tmp_path, roles=roles), store)
    assert "reasoning" not in {finding.what for finding in probe.findings}


async def test_a_context_that_is_too_short_is_told_with_the_length_that_it_needs(
    simulated: str, tmp_path: Path, store: Store
) -> None:
    probe = await probe_recipe(make(simulated, tmp_path, model={"max_tokens": 32500}), store)
    problem = found(probe, "context", "problem")
    assert "of 32,768" in problem.seen
    assert "--max-model-len" in problem.todo


async def test_the_context_of_a_server_that_does_not_tell_it_is_that_of_the_folder_it_serves(
    simulated: str, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muser.endpoints.simulated.server.CONTEXT", None)
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "config.json").write_text('{"max_position_embeddings": 256}')
    served: dict[str, Any] = {"base_url": None, "model": "student", "serve": {}}
    recipe = make(simulated, tmp_path, model=served, output=str(tmp_path / "output"))
    path = str((tmp_path / "student").resolve())
    card = Card(name="simulated", path=path, base_url=simulated, engine="transformers", pid=1)
    with announced(tmp_path / "output" / "servers", card):
        probe = await probe_recipe(recipe, store)
    assert "of 256" in found(probe, "context", "problem").seen


async def test_a_response_as_long_as_it_may_be_is_a_hint(simulated: str, tmp_path: Path, store: Store) -> None:
    probe = await probe_recipe(make(simulated, tmp_path, model={"max_tokens": 20000}), store)
    assert "of the maximum length" in found(probe, "context", "hint").seen
    assert probe.problems == 0


async def test_the_longest_query_of_a_file_counts_also_where_it_is_not_tried(
    simulated: str, tmp_path: Path, store: Store
) -> None:
    queries = ["Short?"] * 9
    queries[4] = "My chest hurts. " * 12000
    (tmp_path / "q.jsonl").write_text(
        "".join(json.dumps({"id": n, "query": query}) + "\n" for n, query in enumerate(queries))
    )
    probe = await probe_recipe(make(simulated, tmp_path, samples=0, queries="q.jsonl"), store, tries=2)
    assert "--max-model-len" in found(probe, "context", "problem").todo


async def test_a_dead_server_is_a_problem_of_its_roles_and_nothing_is_tried(
    simulated: str, tmp_path: Path, store: Store
) -> None:
    models = {
        "sim": {"base_url": simulated, "model": "simulated", "retries": 0},
        "gone": {"base_url": "http://127.0.0.1:9/v1", "model": "x", "retries": 0},
    }
    roles = {role: {"model": "sim"} for role in ("persona", "responder", "critic", "refiner")}
    recipe = make(simulated, tmp_path, models=models, roles=roles | {"critics": {"safety": {"model": "gone"}}})
    probe = await probe_recipe(recipe, store)
    assert found(probe, "server", "problem").roles == ("critics.safety",)
    assert found(probe, "structured output", "good").roles == ("critics.decision",)
    assert probe.estimate is None


async def test_a_stage_that_is_not_trained_is_a_problem_of_its_roles(
    simulated: str, tmp_path: Path, store: Store
) -> None:
    models = {"sim": {"base_url": simulated, "model": "simulated"}, "student": {"model": "tiny"}}
    roles = {role: {"model": "sim"} for role in ("persona", "responder", "critic")}
    recipe = make(
        simulated, tmp_path, models=models, roles=roles | {"refiner": {"model": "student@distill"}},
        training={"model": "student"},
    )  # fmt: skip
    probe = await probe_recipe(recipe, store)
    assert found(probe, "model", "problem").roles == ("refiner",)
    assert probe.estimate is None


async def test_samples_that_fail_are_told_with_their_cause(simulate: Simulate, tmp_path: Path, store: Store) -> None:
    probe = await probe_recipe(make(simulate(faults={"truncated": 1.0}), tmp_path, repairs=0), store)
    problem = found(probe, "samples", "problem")
    assert "1 of 1 samples failed" in problem.seen
    assert "max_tokens" in problem.todo
    assert probe.estimate is None


async def test_engines_that_the_recipe_does_not_know_of_are_a_hint_and_too_many_a_problem(
    simulated: str, tmp_path: Path, store: Store
) -> None:
    probe = await probe_recipe(make(simulated, tmp_path, model={"data_parallel": 4}), store)
    assert found(probe, "engines", "problem").seen.endswith("has 1 engine, but the recipe says 4")

    async def answer(request: web.Request) -> web.Response:
        if request.path != "/metrics":
            return web.Response(status=404)
        names = ("vllm:num_requests_running", "vllm:num_requests_waiting")
        return web.Response(text="".join(f'{name}{{engine="{number}"}} 0\n' for number in range(2) for name in names))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        probe = await probe_recipe(make(str(server.make_url("/v1")), tmp_path), store)
    assert found(probe, "engines", "hint").todo == "set models.sim.data_parallel: 2"


async def test_the_judge_is_looked_at_where_the_recipe_evaluates(
    simulate: Simulate, simulated: str, tmp_path: Path, store: Store
) -> None:
    models = {
        "sim": {"base_url": simulated, "model": "simulated"},
        "judge": {"base_url": simulate(lacks={"schema"}), "model": "simulated"},
    }
    roles = {role: {"model": "sim"} for role in ("persona", "responder", "critic", "refiner")}
    recipe = make(
        simulated, tmp_path, models=models, roles=roles | {"judge": {"model": "judge"}}, evaluation={"file": "b.jsonl"}
    )
    probe = await probe_recipe(recipe, store)
    assert found(probe, "structured output", "problem").roles == ("judge",)


async def test_the_probe_says_how_the_critics_judged_and_which_of_them_passes_everything(
    simulated: str, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "lenient.py").write_text(
        "from muser.core.types import Critique\n"
        "async def judge(query, answer, ask):\n"
        "    return Critique(critic='lenient', verdict='pass', rationale='We see nothing to add.')\n"
    )
    critics = {"lenient": {"function": "lenient:judge"}, "safety": {"prompt": "safety.md"}}
    probe = await probe_recipe(make(simulated, tmp_path, critics=critics), store)
    hint = found(probe, "verdicts", "hint")
    assert (hint.roles, hint.seen) == (("critics.lenient",), "lenient passed all 4 answers, 5 words (median)")
    assert "sharpen its prompt" in hint.todo
    assert found(probe, "verdicts", "good").seen.startswith("safety passed ")
    few = await probe_recipe(make(simulated, tmp_path, critics=critics), store, tries=3)
    assert not [finding for finding in few.findings if (finding.what, finding.level) == ("verdicts", "hint")]


async def test_findings_come_as_they_are_known_and_a_broken_schema_shortens_the_trial_run(
    simulate: Simulate, tmp_path: Path, store: Store
) -> None:
    events: list[str] = []
    totals: set[int] = set()

    def follow(progress: Progress) -> None:
        events.append("trial run")
        totals.add(progress.total)

    probe = await probe_recipe(
        make(simulate(lacks={"schema"}), tmp_path, repairs=5),
        store,
        on_finding=lambda finding: events.append(finding.what),
        on_progress=follow,
    )
    assert [event for event in events if event != "trial run"] == [finding.what for finding in probe.findings]
    assert events[:3] == ["server", "structured output", "trial run"]
    assert totals == {1}
    assert "after 1 attempt" in found(probe, "samples", "problem").seen
    assert probe.estimate is None
