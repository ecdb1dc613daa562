"""Replays: which calls are repeated from every node, what a change reaches, and what cannot be replayed."""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from muser.core.errors import InputError, MuserError
from muser.core.loading import parse_recipe, recipe_yaml
from muser.core.recipe import Recipe
from muser.core.types import Ask, Critique
from muser.graph.replay import Replayed, replay, run_of
from muser.graph.run import run_recipe
from muser.store.file.database import Store
from muser.store.records.forks import forks_of
from muser.store.records.ledger import calls_of
from muser.store.records.runs import find_run
from muser.store.records.samples import get_trace

CRITICS = ("decision", "communication", "safety")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "endpoint.jsonl"


@pytest.fixture
def url(simulate: Callable[..., str], log: Path) -> str:
    return simulate(log=log)


@pytest.fixture
def recipe(tmp_path: Path, url: str) -> Recipe:
    return Recipe(
        name="study",
        samples=2,
        models={"main": {"base_url": url, "model": "simulated"}},
        roles=dict.fromkeys(("persona", "responder", "critic", "refiner"), "main"),
        critics={name: {"prompt": f"{name}.md"} for name in CRITICS},
        folder=tmp_path,
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "muser.db") as opened:
        yield opened


def ask_again(store: Store, sample: str, node: str, *changes: str, number: int | None = None) -> Replayed:
    """One sample from a node on, by its run's recipe under changes."""
    run = run_of(store, [sample])
    recipe = parse_recipe(run.recipe, run.folder, changes)
    made, summary = asyncio.run(replay(recipe, store, [sample], node=node, number=number))
    assert summary.failures == ()
    return made


async def is_content(query: str, answer: str, ask: Ask) -> Critique:
    return Critique(verdict="pass", rationale="We should keep this.")


def asked(log: Path) -> list[str]:
    return [json.loads(line)["role"] for line in log.read_text(encoding="utf-8").splitlines()]


def result(store: Store, sample: str) -> dict[str, Any]:
    kept = {"persona", "query", "response", "critiques", "refinement", "rounds", "status"}
    return get_trace(store, sample).model_dump(include=kept)


def edited(tmp_path: Path, name: str) -> Path:
    """A packaged prompt with one more sentence."""
    source = Path(__file__).parents[2] / "prompts" / f"{name}.md"
    path = tmp_path / f"my-{name}.md"
    path.write_text(source.read_text(encoding="utf-8") + "\nBe brief.\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("node", ["persona", "respond", "critics", *CRITICS, "refine"])
def test_nothing_changed_asks_nothing_and_ends_the_same(recipe: Recipe, store: Store, log: Path, node: str) -> None:
    asyncio.run(run_recipe(recipe, store))
    before = asked(log)
    made = ask_again(store, "study/s000001", node)
    assert (made.calls, made.changes, asked(log)) == (0, (), before)
    assert made.reused == {"persona": 6, "respond": 5, "critics": 4, "refine": 1}.get(node, 2)
    assert made.forks == {"study/s000001": "study-fork/s000001"}
    assert result(store, "study-fork/s000001") == result(store, "study/s000001")


def test_only_the_critic_and_the_refiner_are_called_again(
    recipe: Recipe, store: Store, log: Path, tmp_path: Path
) -> None:
    asyncio.run(run_recipe(recipe, store))
    original, before = get_trace(store, "study/s000002"), len(asked(log))
    made = ask_again(store, original.id, "safety", f"critics.safety.prompt={edited(tmp_path, 'safety')}")
    assert asked(log)[before:] == ["critic", "refiner"][: made.calls]
    fork = get_trace(store, "study-fork/s000002")
    assert (fork.origin, fork.seed) == (original.id, original.seed)
    assert fork.critiques[:2] == original.critiques[:2]
    assert {call.role for call in calls_of(store, fork.id)} == {"critics.safety", "refiner"}
    assert get_trace(store, original.id) == original
    assert forks_of(store, original.id) == [fork.id]
    run = find_run(store, made.run_id)
    assert run is not None
    assert (run.parent, run.node) == ("study", "safety")
    assert [line.partition(":")[0] for line in run.changes] == [
        "critics.safety.prompt",
        "texts.prompts.critics.safety",
    ]


def test_the_same_replay_of_another_sample_joins_its_run(recipe: Recipe, store: Store) -> None:
    asyncio.run(run_recipe(recipe, store))
    first, second = (ask_again(store, f"study/s00000{n}", "refine", "roles.refiner.temperature=0.3") for n in (1, 2))
    assert first.run_id == second.run_id == "study-fork"
    assert ask_again(store, "study/s000001", "refine", "roles.refiner.temperature=0.4").run_id == "study-fork-2"
    assert first.changes == ("roles.refiner.temperature: None → 0.3",)


def test_a_fork_can_be_forked(recipe: Recipe, store: Store, tmp_path: Path) -> None:
    asyncio.run(run_recipe(recipe, store))
    ask_again(store, "study/s000001", "safety", f"critics.safety.prompt={edited(tmp_path, 'safety')}")
    again = ask_again(
        store, "study-fork/s000001", "decision", f"critics.decision.prompt={edited(tmp_path, 'decision')}"
    )
    assert again.run_id == "study-fork-2"
    assert [line.partition(":")[0] for line in again.changes] == [
        "critics.decision.prompt",
        "texts.prompts.critics.decision",
    ], "what the first fork changed is not said again"
    grandchild = get_trace(store, "study-fork-2/s000001")
    assert grandchild.origin == "study-fork/s000001"
    assert grandchild.critiques[2] == get_trace(store, "study-fork/s000001").critiques[2]
    with pytest.raises(InputError, match="never reached persona") as refused:
        ask_again(store, "study-fork/s000001", "persona")
    assert "or replay its origin, study/s000001" in refused.value.todo


def test_a_critic_whose_code_changed_is_replayed_and_not_found_unchanged(
    recipe: Recipe, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(plan: str) -> None:
        lines = ("from muser.core.types import Critique", "async def strict(query, answer, ask):")
        returned = f'    return Critique(verdict="revise", rationale="{plan}")'
        (tmp_path / "replayed_critics.py").write_text("\n".join([*lines, returned]))
        monkeypatch.delitem(sys.modules, "replayed_critics", raising=False)

    write("We should ask.")
    critics = {"mine": {"function": "replayed_critics:strict"}, "safety": {"prompt": "safety.md"}}
    asyncio.run(run_recipe(Recipe(**recipe.model_dump() | {"critics": critics, "folder": tmp_path}), store))
    unchanged = ask_again(store, "study/s000001", "mine")
    assert (unchanged.changes, unchanged.calls) == ((), 0)
    write("We should warn.")
    made = ask_again(store, "study/s000001", "mine")
    assert made.run_id != unchanged.run_id
    assert [change.partition(":")[0] for change in made.changes] == ["texts.code.critics.mine"]
    refined = get_trace(store, made.forks["study/s000001"]).refinement
    assert refined is not None
    assert "We should warn." in refined.reasoning
    only_refined = ask_again(store, "study/s000001", "refine")
    assert only_refined.changes == (), "the refiner is given the critique that is there"
    runs = [find_run(store, name) for name in ("study", made.run_id, only_refined.run_id)]
    first, second, third = [run.prompts["critics.mine"] for run in runs if run]
    assert first == third != second


def test_a_critic_can_be_left_out_and_another_one_added(
    recipe: Recipe, store: Store, log: Path, tmp_path: Path
) -> None:
    asyncio.run(run_recipe(recipe, store))
    run, before = run_of(store, ["study/s000001"]), len(asked(log))
    fewer = parse_recipe(run.recipe, run.folder).model_copy(
        update={"critics": {name: recipe.critics[name] for name in ("decision", "safety")}}
    )
    asyncio.run(replay(fewer, store, ["study/s000001"], node="refine"))
    assert [c.critic for c in get_trace(store, "study-fork/s000001").critiques] == ["decision", "safety"]
    empathy = {"empathy": recipe.critics["safety"].model_copy(update={"prompt": str(edited(tmp_path, "safety"))})}
    more = recipe.model_copy(update={"critics": recipe.critics | empathy})
    asyncio.run(replay(more, store, ["study/s000001"], node="empathy"))
    assert [c.critic for c in get_trace(store, "study-fork-2/s000001").critiques] == [*CRITICS, "empathy"]
    assert len(asked(log)) - before == 3, "two refinements and one critique"


def test_rounds_before_the_last_are_kept(recipe: Recipe, store: Store) -> None:
    asyncio.run(run_recipe(recipe.model_copy(update={"rounds": 2}), store))
    original = get_trace(store, "study/s000001")
    made = ask_again(store, original.id, "safety")
    fork = get_trace(store, made.forks[original.id])
    assert (made.calls, fork.rounds, len(fork.critiques)) == (0, 2, 6)
    assert result(store, fork.id) == result(store, original.id)


@pytest.mark.parametrize(("node", "reused"), [("critics", 8), ("safety", 6), ("refine", 5)])
def test_a_replay_starts_from_any_round_and_repeats_every_later_one(
    recipe: Recipe, store: Store, node: str, reused: int
) -> None:
    asyncio.run(run_recipe(recipe.model_copy(update={"rounds": 2, "samples": 1}), store))
    original = get_trace(store, "study/s000001")
    made = ask_again(store, original.id, node, number=1)
    assert (made.calls, made.reused, made.round) == (0, reused, 1)
    assert result(store, made.forks[original.id]) == result(store, original.id)


def test_a_change_in_the_first_round_keeps_the_other_critics_critiques_of_that_round(
    recipe: Recipe, store: Store, log: Path, tmp_path: Path
) -> None:
    asyncio.run(run_recipe(recipe.model_copy(update={"rounds": 2, "samples": 1}), store))
    original, before = get_trace(store, "study/s000001"), len(asked(log))
    change = f"critics.safety.prompt={edited(tmp_path, 'safety')}"
    made = ask_again(store, original.id, "safety", change, number=1)
    fork = get_trace(store, made.forks[original.id])
    assert [(c.critic, c.round) for c in fork.critiques] == [(name, n) for n in (1, 2) for name in CRITICS]
    assert fork.critiques[:2] == original.critiques[:2]
    assert {(call.role, call.round) for call in calls_of(store, fork.id) if call.round == 1} == {
        ("critics.safety", 1),
        ("refiner", 1),
    }
    again = ask_again(store, original.id, "safety", change, number=2)
    assert again.run_id != made.run_id, "another round is another replay"
    assert {(call.role, call.round) for call in calls_of(store, again.forks[original.id])} == {
        ("critics.safety", 2),
        ("refiner", 2),
    }
    assert len(asked(log)) > before


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_replay_makes_as_many_calls_as_it_may_and_not_one_more(
    recipe: Recipe, store: Store, log: Path, most: int
) -> None:
    asyncio.run(run_recipe(recipe.model_copy(update={"samples": 1}), store))
    before = len(asked(log))
    changed = recipe.model_copy(update={"reuse": "none"})
    made, summary = asyncio.run(replay(changed, store, ["study/s000001"], node="critics", most_calls=most))
    assert len(asked(log)) - before == made.calls == most
    assert (summary.stopped_by, summary.failed, summary.pending) == ("calls", 0, 1)


@pytest.mark.parametrize(
    ("node", "number", "said"),
    [("safety", 3, "the run has 2 rounds"), ("respond", 1, "respond comes before the rounds")],
)
def test_a_round_that_the_run_does_not_have_is_refused(
    recipe: Recipe, store: Store, node: str, number: int, said: str
) -> None:
    asyncio.run(run_recipe(recipe.model_copy(update={"rounds": 2, "samples": 1}), store))
    with pytest.raises(InputError, match=f"there is no round {number} of {node}: {said}"):
        ask_again(store, "study/s000001", node, number=number)


def test_a_round_that_a_sample_never_came_to_is_refused(recipe: Recipe, store: Store) -> None:
    content = {"mine": {"function": f"{__name__}:is_content"}}
    two = recipe.model_dump() | {"rounds": 2, "samples": 1, "refine_when": "any_revise", "critics": content}
    asyncio.run(run_recipe(Recipe(**two, folder=recipe.folder), store))
    with pytest.raises(InputError, match="it never reached mine in round 2"):
        ask_again(store, "study/s000001", "mine", number=2)


def test_a_failed_sample_is_replayed_from_the_node_that_failed(
    recipe: Recipe, store: Store, simulate: Callable[..., str]
) -> None:
    broken = simulate(faults={"empty": 1.0})
    models = {**recipe.models, "broken": recipe.models["main"].model_copy(update={"base_url": broken})}
    roles = dict.fromkeys(("persona", "responder", "critic", "refiner"), "main") | {"critics": {"safety": "broken"}}
    failing = Recipe.model_validate(recipe.model_dump() | {"models": models, "roles": roles, "folder": recipe.folder})
    assert asyncio.run(run_recipe(failing, store)).failed == 2
    changes = ("roles.critics.safety.model=main", "roles.critics.safety.temperature=0.5")
    made = ask_again(store, "study/s000001", "safety", *changes)
    assert get_trace(store, made.forks["study/s000001"]).status == "done"
    with pytest.raises(InputError, match="it never reached refine"):
        ask_again(store, "study/s000002", "refine")


@pytest.mark.parametrize(
    ("node", "change", "said"),
    [
        ("refine", "roles.responder.temperature=0.1", "no effect from refine on: roles.responder.temperature"),
        ("refine", "critics.safety.prompt=decision.md", "no effect from refine on: critics.safety.prompt"),
        ("decision", "critics.safety.prompt=decision.md", "no effect from decision on: critics.safety.prompt"),
        ("safety", "seed=7", "no effect from safety on: seed"),
        ("safty", "repairs=1", "no node safty; did you mean safety"),
    ],
)
def test_a_change_that_could_not_be_seen_is_refused(
    recipe: Recipe, store: Store, node: str, change: str, said: str
) -> None:
    asyncio.run(run_recipe(recipe, store))
    with pytest.raises(InputError, match=said):
        ask_again(store, "study/s000001", node, change)
    assert find_run(store, "study-fork") is None


def test_what_has_no_history_is_refused(recipe: Recipe, store: Store) -> None:
    asyncio.run(run_recipe(recipe.model_copy(update={"history": "drop"}), store))
    with pytest.raises(InputError, match="its checkpoints were pruned"):
        ask_again(store, "study/s000001", "refine")
    with pytest.raises(MuserError, match="no sample"):
        ask_again(store, "study/s000009", "refine")


def test_a_model_is_exchanged_for_what_follows_only(recipe: Recipe, store: Store, log: Path) -> None:
    asyncio.run(run_recipe(recipe, store))
    before = len(asked(log))
    ask_again(store, "study/s000001", "respond", "roles.responder.temperature=0.2")
    assert asked(log)[before] == "responder"
    assert "persona" not in asked(log)[before:]
    before = len(asked(log))
    ask_again(store, "study/s000001", "critics", "roles.critic.temperature=0.2")
    assert sorted(asked(log)[before:]) == ["critic"] * 3 + ["refiner"] * (len(asked(log)) - before - 3)
    before = len(asked(log))
    ask_again(store, "study/s000001", "refine", "roles.refiner.temperature=0.2")
    assert asked(log)[before:] == ["refiner"]


def test_a_slice_asks_one_critic_and_the_refiner_once_for_each_sample(
    recipe: Recipe, store: Store, log: Path, tmp_path: Path
) -> None:
    asyncio.run(run_recipe(recipe.model_copy(update={"samples": 6}), store))
    originals = [get_trace(store, f"study/s00000{n}") for n in range(1, 7)]
    before = len(asked(log))
    changes = [f"critics.safety.prompt={edited(tmp_path, 'safety')}"]
    again = parse_recipe(recipe_yaml(recipe), recipe.folder, changes)
    made, summary = asyncio.run(replay(again, store, [trace.id for trace in originals], node="safety"))
    now = asked(log)[before:]
    assert (summary.done, now.count("critic")) == (6, 6)
    assert set(now) <= {"critic", "refiner"}
    assert len(now) == made.calls
    assert [get_trace(store, trace.id) for trace in originals] == originals


def test_a_replay_that_was_stopped_goes_on_when_it_is_asked_for_again(
    recipe: Recipe, store: Store, log: Path, tmp_path: Path
) -> None:
    one_by_one = recipe.model_copy(update={"samples": 5, "concurrency": 1})
    asyncio.run(run_recipe(one_by_one, store))
    again = parse_recipe(recipe_yaml(one_by_one), recipe.folder, ["roles.refiner.temperature=0.2"])
    names, before = [f"study/s00000{n}" for n in range(1, 6)], len(asked(log))

    async def stopped() -> None:
        stop = asyncio.Event()
        _, summary = await replay(
            again, store, names, node="refine", stop=stop, on_progress=lambda seen: stop.set() if seen.done else None
        )
        assert summary.stopped_by == "interrupt"

    asyncio.run(stopped())
    made, summary = asyncio.run(replay(again, store, names, node="refine"))
    assert (summary.done, made.run_id) == (5, "study-fork")
    assert asked(log)[before:] == ["refiner"] * 5


@pytest.mark.parametrize("status", ["pending", "running"])
def test_a_sample_that_has_not_ended_is_refused(recipe: Recipe, store: Store, status: str) -> None:
    asyncio.run(run_recipe(recipe, store))
    sql = "UPDATE samples SET status = ? WHERE key = 's000001'"
    store.write_now(lambda db: db.execute(sql, (status,)).rowcount)
    with pytest.raises(InputError, match=f"it is {status}"):
        ask_again(store, "study/s000001", "refine")
    assert find_run(store, "study-fork") is None


def test_samples_of_two_runs_or_of_an_evaluation_are_refused(recipe: Recipe, store: Store) -> None:
    asyncio.run(run_recipe(recipe, store))
    asyncio.run(run_recipe(recipe, store, new=True))
    with pytest.raises(InputError, match="samples of one run"):
        run_of(store, ["study/s000001", "study-2/s000001"])
    store.write_now(lambda db: db.execute("UPDATE runs SET kind = 'evaluation' WHERE id = 'study-2'").rowcount)
    with pytest.raises(InputError, match="the method's own graph"):
        run_of(store, ["study-2/s000001"])


def test_a_critic_that_the_change_removes_cannot_be_replayed_from(recipe: Recipe, store: Store) -> None:
    asyncio.run(run_recipe(recipe, store))
    fewer = recipe.model_copy(update={"critics": {name: recipe.critics[name] for name in ("decision", "safety")}})
    with pytest.raises(InputError, match="no node communication"):
        asyncio.run(replay(fewer, store, ["study/s000001"], node="communication"))


def test_of_many_samples_those_that_cannot_be_forked_are_named(recipe: Recipe, store: Store) -> None:
    asyncio.run(run_recipe(recipe, store))
    store.write_now(lambda db: db.execute("UPDATE samples SET pruned_at = '2026-01-01' WHERE key = 's000001'").rowcount)
    made, summary = asyncio.run(replay(recipe, store, ["study/s000001", "study/s000002"], node="refine"))
    assert (summary.done, list(made.forks), list(made.refused)) == (1, ["study/s000002"], ["study/s000001"])


def test_a_sample_that_came_with_its_response_is_replayed_from_its_critics_on(
    recipe: Recipe, store: Store, tmp_path: Path
) -> None:
    brought = {"id": "q000001", "query": "How long should I rest?", "response": {"answer": "A day."}}
    (tmp_path / "brought.jsonl").write_text(json.dumps(brought) + "\n", encoding="utf-8")
    asyncio.run(run_recipe(recipe.model_copy(update={"samples": 0, "queries": "brought.jsonl"}), store))
    for node in (*CRITICS, "critics", "refine"):
        made = ask_again(store, "study/q000001", node)
        assert (made.calls, result(store, made.forks["study/q000001"])) == (0, result(store, "study/q000001"))
    with pytest.raises(InputError, match="it never reached persona"):
        ask_again(store, "study/q000001", "persona")


def test_a_sample_that_every_critic_passed_is_replayed_without_a_refinement(recipe: Recipe, store: Store) -> None:
    asyncio.run(run_recipe(recipe.model_copy(update={"refine_when": "any_revise"}), store))
    for name in ("study/s000001", "study/s000002"):
        made = ask_again(store, name, "refine")
        assert (made.calls, result(store, made.forks[name])) == (0, result(store, name))


def test_the_recipe_of_a_fork_is_kept_with_it(recipe: Recipe, store: Store) -> None:
    asyncio.run(run_recipe(recipe, store))
    ask_again(store, "study/s000001", "refine", "roles.refiner.temperature=0.3")
    run = find_run(store, "study-fork")
    assert run is not None
    assert "temperature: 0.3" in run.recipe
    assert recipe_yaml(parse_recipe(run.recipe, run.folder)) == run.recipe
