"""Screens in the graph: what is rejected is drawn again and recorded, and the order of events changes nothing."""

import asyncio
import json
from collections.abc import Callable, Sequence
from itertools import permutations
from pathlib import Path

import pytest

from muser.core.errors import Rejected, SettingsError
from muser.core.recipe import Recipe
from muser.core.types import Response, SampleInput
from muser.graph.replay import replay
from muser.graph.run import run_recipe
from muser.graph.screening import Screening
from muser.prompts.attributes import load_attributes
from muser.screens.candidate import Candidate
from muser.screens.shipped import load_screens
from muser.store.file.database import Store
from muser.store.queries.listing import list_samples
from muser.store.records.ledger import calls_of
from muser.store.records.rejections import overtake
from muser.store.records.runs import Run, create_run
from muser.store.records.samples import add_samples, counts, get_trace

MakeRecipe = Callable[..., Recipe]
HERE = "muser.tests.graph.test_screening"
TABLE = """
attributes:
  identity: {values: {patient: , nurse: }}
  region: {values: {Germany: }}
  condition: {values: {headache: , cough: , asthma: }}
  intent: {values: {decide on care: to decide whether and how soon to seek care, find the cause: }}
  vagueness: {values: {specific: }}
  completeness: {values: {complete: }}
  style: {values: {plain: plain everyday language}}
"""


@pytest.fixture
def crowded(make_recipe: MakeRecipe, tmp_path: Path) -> MakeRecipe:
    """Recipes whose few personas often ask the same in nearly the same words."""
    (tmp_path / "few.yaml").write_text(TABLE)

    def make(url: str, **more: object) -> Recipe:
        screens = {"query": ["near_duplicate"], "redraws": 1} | dict(more.pop("screens", {}))  # type: ignore[call-overload]
        return make_recipe(url, attributes=str(tmp_path / "few.yaml"), screens=screens, **{"samples": 10} | more)

    return make


def accepted(store: Store, run: str = "trial") -> dict[str, tuple[int, str | None]]:
    """Key → draw and query of the samples that are done."""
    lines = list_samples(store, run, "status=done", limit=1000).samples
    traces = [get_trace(store, line.id) for line in lines]
    return {trace.key: (trace.draw, trace.query) for trace in traces}


async def refuse_coughs(candidate: Candidate) -> str | None:
    return "coughs" if "cough" in candidate.query else None


async def refuse_all(candidate: Candidate) -> str | None:
    return f"draw {candidate.draw} of {candidate.key.rpartition('/')[2]}"


async def refuse_long_refinements(candidate: Candidate) -> str | None:
    assert candidate.refinement
    assert candidate.response
    assert len(candidate.critiques) == 3
    return "long" if len(candidate.refinement.answer) > 2 * len(candidate.response.answer) else None


async def fails(candidate: Candidate) -> str | None:
    raise ValueError(candidate.key)


async def test_a_rejected_sample_gets_another_persona_and_its_draws_are_kept(
    simulated: str, make_recipe: MakeRecipe, crowded: MakeRecipe, store: Store
) -> None:
    summary = await run_recipe(crowded(simulated, screens={"query": [f"{HERE}:refuse_coughs"], "redraws": 9}), store)
    assert (summary.done, summary.rejected) == (10, 0)
    assert summary.screens[0].screen == f"{HERE}:refuse_coughs"
    redrawn = [get_trace(store, f"trial/{key}") for key, (draw, _) in accepted(store).items() if draw > 1]
    assert redrawn
    for trace in redrawn:
        rejected = trace.rejections
        assert [one.draw for one in rejected] == list(range(1, trace.draw))
        assert all("cough" in one.text and one.reason == "coughs" and one.stage == "query" for one in rejected)
        assert rejected[0].persona is not None
        assert rejected[0].persona["condition"] == "cough"
        assert trace.persona is not None
        assert trace.persona["condition"] != "cough"


async def test_exactly_the_wanted_number_is_accepted(simulated: str, crowded: MakeRecipe, store: Store) -> None:
    summary = await run_recipe(crowded(simulated), store)
    assert summary.failures == ()
    assert summary.done == summary.total == 10
    assert summary.rejected > 0
    assert counts(store, "trial")["rejected"] == summary.rejected
    again = await run_recipe(crowded(simulated), store)
    assert (again.done, again.rejected) == (10, summary.rejected)
    more = await run_recipe(crowded(simulated, samples=12), store)
    assert more.done == 12


async def test_a_screen_that_rejects_everything_ends_the_run(simulated: str, crowded: MakeRecipe, store: Store) -> None:
    summary = await run_recipe(crowded(simulated, samples=4, screens={"query": [f"{HERE}:refuse_all"]}), store)
    assert (summary.done, summary.rejected, summary.short) == (0, 12, 4)
    assert [one.reason for one in get_trace(store, "trial/s000002").rejections] == [
        "draw 1 of s000002",
        "draw 2 of s000002",
    ]


async def test_the_order_of_events_changes_no_accepted_sample(
    simulate: Callable[..., str], crowded: MakeRecipe, tmp_path: Path
) -> None:
    found = []
    for number, (options, more) in enumerate(
        [
            ({}, {"concurrency": 1}),
            ({"latency": 0.05}, {"concurrency": 10}),
            ({"latency": 0.02}, {"concurrency": 4}),
        ]
    ):
        with Store.open(tmp_path / f"{number}.db") as store:
            await run_recipe(crowded(simulate(**options), **more), store)
            found.append(accepted(store))
            assert sum(draw > 1 for draw, _ in found[-1].values()) > 0
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 10


async def test_a_stopped_run_and_one_of_two_processes_accept_the_same(
    simulate: Callable[..., str], crowded: MakeRecipe, tmp_path: Path
) -> None:
    with Store.open(tmp_path / "one.db") as store:
        await run_recipe(crowded(simulate(), concurrency=3), store)
        wanted = accepted(store)
    with Store.open(tmp_path / "two.db") as store:
        summary = await run_recipe(crowded(simulate(), concurrency=4), store, workers=2)
        assert (summary.done, accepted(store)) == (10, wanted)
    with Store.open(tmp_path / "stopped.db") as store:
        stop = asyncio.Event()
        await run_recipe(
            crowded(simulate(), concurrency=3),
            store,
            stop=stop,
            on_progress=lambda progress: stop.set() if progress.done >= 3 else None,
        )
        assert 3 <= len(accepted(store)) < 10
        await run_recipe(crowded(simulate(), concurrency=2), store)
        assert accepted(store) == wanted


async def test_a_refinement_is_screened_with_all_that_led_to_it(
    simulated: str, crowded: MakeRecipe, store: Store
) -> None:
    screens = {"query": [], "refinement": [f"{HERE}:refuse_long_refinements"]}
    summary = await run_recipe(crowded(simulated, samples=4, screens=screens), store)
    rejected = list_samples(store, "trial", "status=rejected").samples
    assert summary.done + len(rejected) >= 4
    for line in rejected:
        assert get_trace(store, line.id).rejections[-1].stage == "refinement"


async def test_a_brought_query_is_screened_and_never_drawn_again(
    simulated: str, make_recipe: MakeRecipe, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "q.jsonl").write_text(
        '{"id": "a", "query": "My name is Ann Miller and my head hurts."}\n{"id": "b", "query": "My head hurts."}\n'
    )
    summary = await run_recipe(make_recipe(simulated, samples=0, queries=str(tmp_path / "q.jsonl")), store)
    assert (summary.done, summary.rejected, summary.total) == (1, 1, 1)
    assert get_trace(store, "trial/a").status == "rejected"
    assert [(one.screen, one.reason) for one in get_trace(store, "trial/a").rejections] == [
        ("personal_data", "holds a name")
    ]


async def test_a_query_that_copies_a_benchmark_is_rejected(
    simulated: str, make_recipe: MakeRecipe, store: Store, tmp_path: Path
) -> None:
    asked = "My toddler swallowed two of his grandmother's blood pressure tablets an hour ago. What do I do now?"
    example = {"prompt_id": "p", "prompt": [{"role": "user", "content": asked}], "rubrics": []}
    (tmp_path / "bench.jsonl").write_text(json.dumps(example) + "\n")
    (tmp_path / "q.jsonl").write_text(
        json.dumps({"id": "a", "query": asked}) + "\n" + json.dumps({"id": "b", "query": "My head hurts."}) + "\n"
    )
    more = {"samples": 0, "queries": str(tmp_path / "q.jsonl"), "screens": {"against": [str(tmp_path / "bench.jsonl")]}}
    await run_recipe(make_recipe(simulated, **more), store)
    assert set(accepted(store)) == {"b"}
    (rejected,) = get_trace(store, "trial/a").rejections
    assert (rejected.screen, rejected.text) == ("decontaminated", asked)
    assert rejected.reason.startswith("copies a prompt of ")


async def test_a_screen_that_raises_fails_its_sample(simulated: str, crowded: MakeRecipe, store: Store) -> None:
    summary = await run_recipe(crowded(simulated, samples=2, screens={"query": [f"{HERE}:fails"]}), store)
    assert summary.failed == 2
    assert summary.failures[0].cause_kind == "ScreenError"


@pytest.mark.parametrize(
    ("name", "said"),
    [("lenght", "did you mean length?"), ("muser.nowhere:x", "cannot import"), (f"{HERE}:HERE", "cannot be called")],
)
async def test_an_unknown_screen_is_refused_before_the_first_call(
    simulated: str, crowded: MakeRecipe, store: Store, name: str, said: str
) -> None:
    with pytest.raises(SettingsError, match=said.replace("?", r"\?")):
        await run_recipe(crowded(simulated, screens={"query": [name]}), store)


@pytest.mark.parametrize("order", list(permutations((0, 1, 2))))
async def test_a_draw_that_a_lower_sample_rejects_still_overtakes_a_higher_one(
    store: Store, order: Sequence[int]
) -> None:
    words = [f"word{number}" for number in range(36)]
    queries = [" ".join(words[start : start + 30]) for start in (0, 3, 6)]  # each like the next, the first not the last
    create_run(store, Run(id="r", name="r", recipe="", identity={}, fingerprint="", prompts={}))
    add_samples(store, "r", [SampleInput(key=f"q{number}") for number in range(3)], 1)
    screens = {"query": load_screens(["near_duplicate"])}
    screening = Screening(store, screens, load_attributes("attributes.yaml", Path()), make_ask=None)  # type: ignore[arg-type]
    refused = set()
    for number in order:
        try:
            await screening.screen("query", {"sample": f"r/q{number}", "draw": 1, "query": queries[number]})
        except Rejected:
            refused.add(f"q{number}")
    overtaken = {row["key"] for row in store.read("SELECT key FROM samples WHERE overtaken IS NOT NULL")}
    assert refused | overtaken == {"q1", "q2"}


@pytest.mark.parametrize("rounds", [1, 2])
async def test_an_overtaken_sample_starts_over_in_all_its_steps(
    simulated: str, crowded: MakeRecipe, store: Store, rounds: int
) -> None:
    recipe = crowded(simulated, samples=1, rounds=rounds, screens={"query": ["duplicate"]})
    await run_recipe(recipe, store)
    await overtake(store, "trial/s000001", 1, "duplicate", "100% like the query of trial/s000000")
    await run_recipe(recipe, store)
    trace = get_trace(store, "trial/s000001")
    assert (trace.status, trace.draw, trace.rounds) == ("done", 2, rounds)
    assert [(one.screen, one.reason) for one in trace.rejections] == [
        ("duplicate", "100% like the query of trial/s000000")
    ]
    asked = [call for call in calls_of(store, trace.id) if call.role == "critics.safety"]
    assert len(asked) == 2 * rounds
    assert len(trace.critiques) == 3 * rounds
    assert asked[-1].reply.text.count(trace.critiques[-1].rationale) == 1


async def test_a_brought_query_with_the_key_of_a_short_number_is_no_simulated_sample(
    simulated: str, crowded: MakeRecipe, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "q.jsonl").write_text('{"id": "s1", "query": "My head hurts since Monday."}\n')
    screens = {"query": [f"{HERE}:refuse_second"]}
    recipe = crowded(simulated, samples=3, queries=str(tmp_path / "q.jsonl"), screens=screens)
    summary = await run_recipe(recipe, store)
    assert (summary.done, summary.rejected) == (4, 1)


async def refuse_forks(candidate: Candidate) -> str | None:
    return "a fork" if candidate.key.startswith("trial-fork/") else None


async def refuse_second(candidate: Candidate) -> str | None:
    return "second" if candidate.key.endswith("s000002") else None


async def test_a_query_of_another_run_is_never_replaced_by_a_persona(
    simulated: str, crowded: MakeRecipe, store: Store
) -> None:
    response = Response(answer="Rest.")
    given = SampleInput(key="s000001", query="My head hurts.", response=response, origin="other/s000001")
    recipe = crowded(simulated, samples=1, screens={"query": [], "refinement": [f"{HERE}:refuse_all"]})
    summary = await run_recipe(recipe, store, inputs=[given], source="x", roles=recipe.call_roles()[2:])
    assert (summary.done, summary.failed, summary.rejected) == (0, 0, 1)
    assert get_trace(store, "trial/s000001").draw == 1


async def test_a_replay_is_not_screened(simulated: str, crowded: MakeRecipe, store: Store) -> None:
    screens = [f"{HERE}:refuse_forks"]
    recipe = crowded(simulated, samples=1, screens={"query": screens, "refinement": screens})
    await run_recipe(recipe, store)
    replayed, summary = await replay(recipe, store, ["trial/s000001"], node="persona")
    assert (summary.done, summary.rejected) == (1, 0)
    assert get_trace(store, f"{replayed.run_id}/s000001").draw == 1
