"""SmolLM2-135M-Instruct through the graph and the grading, served by llama.cpp, with examples of the real HealthBench.

No text of HealthBench may stand here or be printed: it carries a canary.
"""

import asyncio
import json
from pathlib import Path

import pytest

from muser.agents.critics import CRITIQUE_SCHEMA
from muser.core.packaged import HEALTHBENCH, fetch
from muser.core.recipe import Recipe
from muser.evals.grading import evaluate
from muser.evals.healthbench import load_examples
from muser.graph.run import run_recipe
from muser.pipeline.servers import serving
from muser.store.file.database import Store
from muser.store.records.ledger import Call, calls_of
from muser.store.records.samples import Trace, get_trace

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]
CRITICS = {name: {"prompt": f"{name}.md"} for name in ("decision", "communication", "safety")}


def recipe_in(folder: Path, **settings: object) -> Recipe:
    serve = {"engine": "llamacpp", "max_model_len": 8192}
    values = {
        "name": "real",
        "models": {"small": {"model": "smollm2", "max_tokens": 120, "serve": serve}},
        "critics": CRITICS,
        "repairs": 1,
        "concurrency": 2,
        "store": str(folder / "muser.db"),
        "output": str(folder / "output"),
        "folder": folder,
    }
    return Recipe.model_validate(values | settings)


def traces_of(store: Store, run: str) -> list[Trace]:
    rows = store.read("SELECT key FROM samples WHERE run_id = ? ORDER BY id", (run,))
    return [get_trace(store, f"{run}/{row['key']}") for row in rows]


async def through_the_graph(recipe: Recipe, store: Store) -> None:
    async with serving(recipe, store, recipe.call_roles()) as up:
        await run_recipe(recipe, store, models=up.models, revisions=up.revisions)


def test_the_converted_model_has_its_context_template_and_stops(smollm2: Path) -> None:
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    assert tokenizer.model_max_length == AutoConfig.from_pretrained(smollm2).max_position_embeddings == 8192
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    assert tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    )
    assert GenerationConfig.from_pretrained(smollm2).eos_token_id == tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_a_gguf_file_of_the_converted_weights_holds_the_same_weights(smollm2: Path) -> None:
    """llama's queries and keys stand in another order there; a mistake in it would leave no text readable."""
    import gguf
    import numpy as np

    from muser.core.packaged import SMOLLM2

    first = {one.name: one for one in gguf.GGUFReader(SMOLLM2.cached).tensors}
    second = {one.name: one for one in gguf.GGUFReader(smollm2 / "model.gguf").tensors}
    assert list(first) == list(second)
    for name in ("blk.0.attn_q.weight", "blk.29.attn_k.weight", "blk.3.ffn_down.weight", "token_embd.weight"):
        before = gguf.quants.dequantize(first[name].data, first[name].tensor_type)
        after = gguf.quants.dequantize(second[name].data, second[name].tensor_type)
        assert np.abs(before - after).max() < 0.01 * np.abs(before).max(), name


def test_questions_and_personas_go_through_the_graph(smollm2: Path, tmp_path: Path) -> None:
    questions = ["Is honey good for a cough?", "My child has a fever of 39. What should I do?"]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps({"query": one}) + "\n" for one in questions))
    recipe = recipe_in(tmp_path, queries="questions.jsonl", samples=1)
    with Store.open(recipe.store) as store:
        asyncio.run(through_the_graph(recipe, store))
        traces = traces_of(store, "real")
        calls = [call for trace in traces for call in calls_of(store, trace.id)]
    assert len(traces) == 3
    assert {trace.status for trace in traces} <= {"done", "failed"}
    assert all(trace.failed_node for trace in traces if trace.status == "failed")
    _the_server_kept_to_schema_and_stops(calls)


def _the_server_kept_to_schema_and_stops(calls: list[Call]) -> None:
    critiques = [call for call in calls if call.role.startswith("critics.") and call.reply.finish_reason == "stop"]
    assert critiques
    for call in critiques:
        said = json.loads(call.reply.text, strict=False)
        assert set(said) == set(CRITIQUE_SCHEMA["required"])  # type: ignore[arg-type]
        assert said["verdict"] in ("pass", "revise")
    assert not any("<|im_end|>" in call.reply.text for call in calls)
    assert {call.reply.finish_reason for call in calls} <= {"stop", "length"}
    assert any(call.reply.usage.tokens_cached for call in calls)


def test_real_examples_of_healthbench_are_answered_and_graded(smollm2: Path, tmp_path: Path) -> None:
    file = fetch(HEALTHBENCH)
    examples = load_examples(file)
    assert (len(examples), sum(len(one.rubrics) for one in examples)) == (500, 5965)
    # The shortest ones: the test is about the format, and a judge of two cores reads slowly.
    short = sorted(examples, key=lambda one: sum(len(turn.content) for turn in one.prompt) + 400 * len(one.rubrics))[:2]
    (tmp_path / "two.jsonl").write_text("".join(one.model_dump_json() + "\n" for one in short), encoding="utf-8")
    recipe = recipe_in(tmp_path, evaluation={"file": "two.jsonl"})

    async def work(store: Store) -> int:
        async with serving(recipe, store, ["responder", "judge"]) as up:
            summary = await evaluate(recipe, store, models=up.models, revisions=up.revisions)
        return summary.unjudged

    with Store.open(recipe.store) as store:
        unjudged = asyncio.run(work(store))
        traces = traces_of(store, "real")
    done = [trace for trace in traces if trace.status == "done"]
    assert done
    graded = [grade for trace in done for grade in trace.grades]
    assert len(graded) == sum(len(trace.rubric) for trace in done)
    assert sum(grade.met is None for grade in graded) == unjudged
