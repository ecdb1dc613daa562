"""The whole graph on the twenty questions against a real vLLM: a random model's words, but every form kept."""

import json
from pathlib import Path

import pytest

from muser.core.recipe import Recipe
from muser.graph.run import run_recipe
from muser.store.file.database import Store
from muser.store.records.ledger import calls_of, usage_by_role
from muser.store.records.samples import get_trace

pytestmark = pytest.mark.vllm
RECIPES = Path(__file__).parents[2] / "recipes"


async def test_twenty_questions_go_through_the_graph_with_valid_critiques(vllm: str, tmp_path: Path) -> None:
    recipe = Recipe(
        name="questions",
        queries="questions.jsonl",
        folder=RECIPES,
        # A random model rarely ends its text by itself, so free text ends in a word that it is likely to reach.
        models={
            "tiny": {
                "model": "tiny-base",
                "base_url": vllm,
                "max_tokens": 1500,
                "extra_body": {"stop": ["e", " "], "min_tokens": 8},
            }
        },
        roles={
            "responder": {"model": "tiny", "reasoning": "off"},
            "critic": {"model": "plain"},
            "refiner": {"model": "tiny", "reasoning": "off"},
        },
        critics={name: {"prompt": f"{name}.md"} for name in ("decision", "communication", "safety")},
        repairs=6,
    )
    models = dict(recipe.models) | {
        "plain": recipe.models["tiny"].model_copy(update={"extra_body": {}, "max_tokens": 4000})
    }
    recipe = recipe.model_copy(update={"models": models})
    with Store.open(tmp_path / "muser.db") as store:
        summary = await run_recipe(recipe, store)
        assert (summary.done, summary.failed) == (20, 0), summary.failures
        for line in (RECIPES / "questions.jsonl").read_text(encoding="utf-8").splitlines():
            trace = get_trace(store, f"questions/{json.loads(line)['id']}")
            assert [c.critic for c in trace.critiques] == ["decision", "communication", "safety"]
            assert all(c.verdict in ("pass", "revise") for c in trace.critiques)
            assert trace.refinement is not None
            assert trace.checkpoint_id
            critics = [c for c in calls_of(store, trace.id) if c.role.startswith("critics.") and c.outcome == "ok"]
            assert {call.reply.finish_reason for call in critics} == {"stop"}
            assert all(set(json.loads(c.reply.text, strict=False)) == {"rationale", "verdict"} for c in critics)
        usage = {line.role: line for line in usage_by_role(store, "questions")}
        assert usage["critics.safety"].tokens_cached > 0, "critics share their prefix in the server's cache"
        checkpoints = store.read("SELECT count(*) AS threads FROM threads")[0]["threads"]
        assert checkpoints == 20
