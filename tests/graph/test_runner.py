"""Many samples: bounded, resumable, stopped cleanly; what fails is a row with its cause and never a crash."""

import asyncio
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from langgraph.graph import START, StateGraph

from muser.core.errors import EndpointRefused, EndpointUnreachable, RunChanged, StoreFull
from muser.core.recipe import Recipe
from muser.core.types import Ask, Critique, SampleInput
from muser.endpoints.simulated.server import Simulation
from muser.graph.identity import describe_run
from muser.graph.progress import Progress
from muser.graph.run import run_recipe
from muser.graph.runner import Job, run_job
from muser.graph.state import State
from muser.store.file.database import Store
from muser.store.records.ledger import calls_of, usage_by_role
from muser.store.records.runs import find_run, list_runs, start_run
from muser.store.records.samples import counts, get_trace

MakeRecipe = Callable[..., Recipe]


def bodies(log: Path) -> Counter[str]:
    """How often the endpoint saw each request body."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return Counter(line["body"] for line in lines)


async def test_samples_in_flight_never_pass_the_concurrency(
    simulated: str, make_recipe: MakeRecipe, store: Store
) -> None:
    seen: list[int] = []
    recipe = make_recipe(simulated, samples=24, concurrency=3)
    summary = await run_recipe(recipe, store, on_progress=lambda progress: seen.append(progress.in_flight))
    assert summary.done == 24
    assert max(seen) <= 3


async def test_a_finished_run_is_not_run_again(
    simulate: Callable[..., str], make_recipe: MakeRecipe, store: Store, tmp_path: Path
) -> None:
    recipe = make_recipe(simulate(log=tmp_path / "log"), samples=3)
    await run_recipe(recipe, store)
    asked = bodies(tmp_path / "log").total()
    summary = await run_recipe(recipe, store)
    assert (summary.done, summary.pending) == (3, 0)
    assert bodies(tmp_path / "log").total() == asked == 18
    assert len(list_runs(store)) == 1


async def test_more_samples_continue_the_same_run(simulated: str, make_recipe: MakeRecipe, store: Store) -> None:
    await run_recipe(make_recipe(simulated, samples=2), store)
    first = get_trace(store, "trial/s000001")
    summary = await run_recipe(make_recipe(simulated, samples=5), store)
    assert (summary.run_id, summary.done) == ("trial", 5)
    assert get_trace(store, "trial/s000001") == first


async def test_a_changed_recipe_is_refused_with_the_difference(
    simulated: str, make_recipe: MakeRecipe, store: Store
) -> None:
    await run_recipe(make_recipe(simulated, samples=1), store)
    with pytest.raises(RunChanged, match=r"models\.sim\.temperature: 0\.7 → 0\.1"):
        await run_recipe(make_recipe(simulated, samples=1, model={"temperature": 0.1}), store)


async def test_what_only_changes_speed_or_place_continues_the_run(
    simulate: Callable[..., str], make_recipe: MakeRecipe, store: Store
) -> None:
    await run_recipe(make_recipe(simulate(), samples=1), store)
    other = make_recipe(simulate(), samples=1, concurrency=1, limits={"tokens": 10**9}, model={"timeout": 77})
    assert (await run_recipe(other, store)).run_id == "trial"


async def test_a_new_run_shares_every_identical_call(
    simulate: Callable[..., str], make_recipe: MakeRecipe, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "safety.md").write_text("Is it safe? Name the red flags. Reply as JSON.\n")
    url = simulate(log=tmp_path / "log")
    await run_recipe(make_recipe(url, samples=4), store)
    changed = make_recipe(url, samples=4, rounds=1, refine_when="any_revise")
    summary = await run_recipe(changed, store, new=True)
    assert (summary.run_id, summary.done) == ("trial-2", 4)
    assert bodies(tmp_path / "log").most_common(1)[0][1] == 1
    usage = usage_by_role(store, "trial-2")
    assert sum(line.calls for line in usage) == 0
    assert sum(line.reused for line in usage) == 24


async def test_a_token_limit_stops_cleanly_and_a_higher_one_goes_on(
    simulated: str, make_recipe: MakeRecipe, store: Store
) -> None:
    summary = await run_recipe(make_recipe(simulated, samples=9, concurrency=1, limits={"tokens": 6000}), store)
    assert summary.stopped_by == "tokens"
    assert 0 < summary.done < 9
    assert summary.pending == 9 - summary.done
    again = await run_recipe(make_recipe(simulated, samples=9, limits={"tokens": 6000}), store)
    assert again.done == summary.done, "the limit is of the run, not of the command"
    assert (await run_recipe(make_recipe(simulated, samples=9), store)).done == 9


async def test_a_time_limit_stops_cleanly(simulated: str, make_recipe: MakeRecipe, store: Store) -> None:
    summary = await run_recipe(make_recipe(simulated, samples=5, concurrency=1, limits={"hours": 1e-9}), store)
    assert (summary.stopped_by, summary.done, summary.pending) == ("hours", 0, 5)


async def test_a_stop_lets_samples_in_flight_end(simulated: str, make_recipe: MakeRecipe, store: Store) -> None:
    stop = asyncio.Event()

    def after_two(progress: Progress) -> None:
        if progress.done >= 2:
            stop.set()

    summary = await run_recipe(
        make_recipe(simulated, samples=50, concurrency=4), store, on_progress=after_two, stop=stop
    )
    assert summary.stopped_by == "interrupt"
    assert 2 <= summary.done <= 6
    assert summary.done + summary.pending == 50
    assert counts(store, "trial")["running"] == 0
    run = find_run(store, "trial")
    assert run is not None
    assert run.status == "stopped"


async def test_a_cancelled_run_resumes_where_it_was(
    simulate: Callable[..., str], make_recipe: MakeRecipe, store: Store, tmp_path: Path
) -> None:
    recipe = make_recipe(simulate(log=tmp_path / "log"), samples=12, concurrency=6)
    started = asyncio.Event()

    def cancel_soon(progress: Progress) -> None:
        if progress.done >= 2:
            started.set()

    task = asyncio.create_task(run_recipe(recipe, store, on_progress=cancel_soon))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    summary = await run_recipe(recipe, store)
    assert summary.done == 12


async def test_nothing_is_touched_when_the_endpoint_is_dead(make_recipe: MakeRecipe, store: Store) -> None:
    recipe = make_recipe("http://127.0.0.1:9/v1", samples=2)
    with pytest.raises(EndpointUnreachable):
        await run_recipe(recipe, store)
    assert counts(store, "trial") == {"pending": 2, "running": 0, "done": 0, "failed": 0, "rejected": 0}


async def test_a_model_that_is_not_served_is_refused_before_any_call(
    simulated: str, make_recipe: MakeRecipe, store: Store
) -> None:
    with pytest.raises(EndpointRefused, match="other-name"):
        await run_recipe(make_recipe(simulated, samples=2, model={"model": "other-name"}), store)
    assert usage_by_role(store, "trial") == []


async def test_samples_wait_when_the_endpoint_goes_away(make_recipe: MakeRecipe, store: Store) -> None:
    from muser.endpoints.simulated.server import simulated_endpoint

    stop_serving = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        address: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def serve() -> None:
            async with simulated_endpoint() as url:
                address.set_result(url)
                await stop_serving.wait()

        serving = group.create_task(serve())
        recipe = make_recipe(await address, samples=30, concurrency=2, model={"retries": 0})

        def pull_the_plug(progress: Progress) -> None:
            if progress.done >= 3:
                stop_serving.set()

        summary = await run_recipe(recipe, store, on_progress=pull_the_plug)
        await serving
    assert summary.stopped_by == "endpoint"
    assert summary.failed == 0
    assert summary.pending == 30 - summary.done
    assert "where" in summary.stop_cause


async def test_a_failed_critic_alone_is_retried(
    simulate: Callable[..., str], make_recipe: MakeRecipe, store: Store, tmp_path: Path
) -> None:
    url = simulate(log=tmp_path / "log")
    models = {
        "sim": {"base_url": url, "model": "simulated", "retries": 0},
        "bad": {"base_url": simulate(faults={"malformed": 1.0}), "model": "simulated", "retries": 0},
    }
    bound = {role: {"model": "sim"} for role in ("persona", "responder", "critic", "refiner")}
    roles = bound | {"critics": {"safety": {"model": "bad"}}}
    recipe = make_recipe(url, samples=1, models=models, roles=roles, repairs=1)
    summary = await run_recipe(recipe, store)
    trace = get_trace(store, "trial/s000001")
    assert summary.failed == 1
    assert (trace.failed_node, trace.cause_kind) == ("safety", "ReplyError.malformed")
    assert {critique.critic for critique in trace.critiques} == {"decision", "communication"}, "what it got is shown"
    assert [c.outcome for c in calls_of(store, trace.id) if c.role == "critics.safety"] == ["malformed", "malformed"]
    failure = summary.failures[0]
    assert (failure.node, failure.samples, failure.example) == ("safety", 1, "trial/s000001")

    models["bad"]["base_url"] = url
    healed = make_recipe(url, samples=1, models=models, roles=roles, repairs=1)
    assert (await run_recipe(healed, store)).failed == 1, "a failed sample waits until it is asked for"
    summary = await run_recipe(healed, store, retry=True)
    assert (summary.done, summary.failed) == (1, 0)
    seeds = {c.parameters["seed"] for c in calls_of(store, trace.id) if c.role == "critics.safety"}
    assert len(seeds) == 3, "a retry does not ask for the very reply that failed"
    by_role = Counter(c.role for c in calls_of(store, trace.id) if not c.superseded)
    assert by_role == dict.fromkeys(
        ("persona", "responder", "critics.decision", "critics.communication", "critics.safety", "refiner"), 1
    )


async def test_a_run_whose_every_call_fails_alike_stops_early(
    simulate: Callable[..., str], make_recipe: MakeRecipe, store: Store
) -> None:
    recipe = make_recipe(simulate(faults={"500": 1.0}), samples=200, concurrency=4, model={"retries": 0})
    summary = await run_recipe(recipe, store)
    assert summary.stopped_by == "endpoint"
    assert summary.pending > 150


async def test_a_sample_whose_last_checkpoint_is_there_becomes_done_without_a_call(
    simulate: Callable[..., str], make_recipe: MakeRecipe, store: Store, tmp_path: Path
) -> None:
    recipe = make_recipe(simulate(log=tmp_path / "log"), samples=2)
    await run_recipe(recipe, store)
    before = get_trace(store, "trial/s000002")
    # As a kill between the final checkpoint and the sample's row would leave it.
    store.write_now(lambda db: db.execute("UPDATE samples SET status = 'running', refined_answer_id = NULL"))
    asked = bodies(tmp_path / "log").total()
    summary = await run_recipe(recipe, store)
    assert summary.done == 2
    assert bodies(tmp_path / "log").total() == asked
    assert get_trace(store, "trial/s000002").refinement == before.refinement


async def no_room(query: str, answer: str, ask: Ask) -> Critique:
    raise StoreFull("the disk is full")


async def test_what_is_wrong_with_the_store_ends_the_run_and_fails_no_sample(
    simulated: str, make_recipe: MakeRecipe, store: Store
) -> None:
    critics = {"mine": {"function": f"{__name__}:no_room"}}
    with pytest.raises(StoreFull):
        await run_recipe(make_recipe(simulated, samples=4, concurrency=2, critics=critics), store)
    assert counts(store, "trial")["failed"] == 0


class OneOdd(Simulation):
    """Answers the first request that it sees, whenever it comes, with what no endpoint should send."""

    def __init__(self, odd: bytes) -> None:
        super().__init__()
        self.odd, self.first = odd, b""

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.first = self.first or body
        if body != self.first or request.transport is None:
            return await super().complete(request)
        request.transport.write(self.odd)
        request.transport.close()
        return web.Response()


@pytest.mark.parametrize(
    ("odd", "kind"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"[" * 100_000, "EndpointRefused"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{}", "EndpointOverloaded"),
        (b"SSH-2.0-OpenSSH\r\n", "EndpointRefused"),
    ],
    ids=["deep", "cut", "no HTTP"],
)
async def test_an_odd_answer_costs_its_sample_and_neither_the_run_nor_the_next(
    make_recipe: MakeRecipe, store: Store, odd: bytes, kind: str
) -> None:
    async with TestServer(OneOdd(odd).application()) as server:
        recipe = make_recipe(str(server.make_url("/v1")), samples=4, concurrency=1, model={"retries": 0})
        summary = await run_recipe(recipe, store)
        assert (summary.done, summary.failed, summary.stopped_by) == (3, 1, "")
        assert (await run_recipe(recipe, store)).failed == 1, "it is not met again before it is asked for"
        trace = get_trace(store, "trial/s000001")
        assert (trace.status, trace.cause_kind, trace.failed_node) == ("failed", kind, "persona")
        assert (await run_recipe(recipe, store, retry=True)).done == 4


def faulty(recipe: Recipe, store: Store, faults: set[str], output: Path) -> Job:
    """A run whose machine has a bug that some samples meet."""

    async def step(state: State) -> dict[str, Any]:
        if state["sample"].rpartition("/")[2] in faults:
            raise ZeroDivisionError("not what was meant")
        return {"done": True}

    machine = StateGraph(State)
    machine.add_node("step", step)
    machine.add_edge(START, "step")
    recipe = recipe.model_copy(update={"output": str(output)})
    run = start_run(store, describe_run(recipe, {}, {}, {}))
    inputs = [SampleInput(key=f"q{number:02}", query="hello") for number in range(30)]
    return Job(run, recipe, machine, lambda _: None, ("responder",), recipe.models, inputs=inputs)


async def test_a_bug_fails_the_samples_that_meet_it_and_its_traceback_is_kept(
    simulated: str, make_recipe: MakeRecipe, store: Store, tmp_path: Path
) -> None:
    job = faulty(make_recipe(simulated, concurrency=2), store, {"q03", "q17"}, tmp_path / "output")
    summary = await run_job(store, job)
    assert (summary.done, summary.failed, summary.stopped_by) == (28, 2, "")
    failed = get_trace(store, f"{job.run.id}/q03")
    log = tmp_path / "output" / "logs" / "bugs.log"
    assert (failed.cause_kind, failed.failed_node) == ("MachineError", "step")
    assert "ZeroDivisionError: not what was meant" in str(failed.cause)
    assert str(log) in str(failed.cause)
    written = log.read_text()
    assert written.count("Traceback") == 2
    assert failed.id in written
    assert "in step" in written
    assert log.stat().st_mode & 0o777 == 0o600


async def test_a_bug_that_every_sample_meets_stops_the_run(
    simulated: str, make_recipe: MakeRecipe, store: Store, tmp_path: Path
) -> None:
    job = faulty(make_recipe(simulated, concurrency=1), store, {f"q{n:02}" for n in range(30)}, tmp_path)
    summary = await run_job(store, job)
    assert (summary.stopped_by, summary.failed, summary.pending) == ("bug", 19, 11)
    assert "ZeroDivisionError" in summary.stop_cause


async def test_a_log_that_cannot_be_written_is_said_and_ends_nothing(
    simulated: str, make_recipe: MakeRecipe, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    summary = await run_job(store, faulty(make_recipe(simulated), store, {"q03"}, tmp_path / "file"))
    assert (summary.done, summary.failed) == (29, 1)
    assert "could not be written" in summary.failures[0].message


CHILD = """
import asyncio, json, sys
from muser.core.recipe import Recipe
from muser.core.types import Ask, Critique
from muser.graph.run import run_recipe
from muser.store.file.database import Store

with Store.open(sys.argv[1]) as store:
    recipe = Recipe(**json.loads(sys.argv[2]))
    asyncio.run(run_recipe(recipe, store, on_progress=lambda p: print(p.done, flush=True)))
"""


@pytest.mark.timeout(180)
def test_after_sigkill_no_call_with_a_committed_row_is_repeated(
    simulate: Callable[..., str], make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    log, path = tmp_path / "log", tmp_path / "killed.db"
    recipe = make_recipe(simulate(log=log, latency=0.02), samples=24, concurrency=8)
    command = [sys.executable, "-c", CHILD, str(path), recipe.model_dump_json()]
    kills = 0
    for wanted in (4, 12):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for line in child.stdout:
                if int(line) >= wanted:
                    child.send_signal(signal.SIGKILL)
                    kills += 1
                    break
            child.wait()
    assert kills == 2
    with Store.open(path) as store:
        committed = len(store.read("SELECT id FROM calls"))
        asked_before = bodies(log)
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == "24"
        assert counts(store, "trial") == {"pending": 0, "running": 0, "done": 24, "failed": 0, "rejected": 0}
        asked_after = bodies(log)
        total_calls = len(store.read("SELECT id FROM calls"))
        # Every body asked twice was in flight, uncommitted, when a kill came.
        repeats = asked_after.total() - len(asked_after)
        assert total_calls == 24 * 6 == len(asked_after)
        assert asked_after.total() - asked_before.total() == total_calls - committed
        assert repeats == asked_before.total() - committed
