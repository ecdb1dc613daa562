"""The pipeline on a real vLLM: a served teacher, and the distilled, really served student as its own critic.

Their words are those of random weights; what counts is who was asked, that every form is kept, and what became of it.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from muser.core.recipe import Recipe
from muser.pipeline.models import trained_model
from muser.pipeline.run import plan, run_pipeline
from muser.pipeline.steps import Listener
from muser.store.file.database import Store
from muser.store.records.artifacts import latest_artifact, parents_of
from muser.store.records.ledger import Call, calls_of
from muser.store.records.runs import find_run
from muser.store.records.samples import get_trace
from muser.trainer.tiny import build_tiny_model

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1200)]
ROOT = Path(__file__).parents[2]
CRITICS = {name: {"prompt": f"{name}.md"} for name in ("decision", "communication", "safety")}
QUESTIONS = ("I have had chest pain since yesterday.", "My child has a fever.", "Is honey good for a cough?")
STAGE = {"epochs": 1, "batch_size": 3, "learning_rate": 1e-4, "max_length": 8000}
SERVE = {"max_model_len": 8192, "gpu_memory_utilization": 0.3}


def build_model(folder: Path, seed: int) -> Path:
    """A tiny model whose vocabulary is learned from what it will read, so that whole prompts fit."""
    texts = [path.read_text(encoding="utf-8") for path in ROOT.glob("prompts/*.md")]
    return build_tiny_model(folder, texts=texts, hidden=96, layers=2, positions=8192, seed=seed)


def ends_soon(folder: Path) -> dict[str, Any]:
    """Random weights hardly ever end a text or a JSON string: what ends them is made likely."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    ends = [tokenizer.eos_token_id, *tokenizer.encode('"', add_special_tokens=False)]
    return {"logit_bias": {str(token): 3 for token in ends}}


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    teacher, student = build_model(tmp_path / "teacher", 1), build_model(tmp_path / "student", 2)
    lines = [json.dumps({"id": f"q{number:06d}", "query": text}) + "\n" for number, text in enumerate(QUESTIONS, 1)]
    (tmp_path / "questions.jsonl").write_text("".join(lines))
    # At a lower temperature a bias weighs more: texts end after a word or two, which are too short to use.
    model = {"max_tokens": 3500, "temperature": 1.0, "extra_body": ends_soon(teacher), "serve": SERVE}
    free = {"reasoning": "off"}
    return Recipe(
        name="vllm",
        queries="questions.jsonl",
        models={"teacher": model | {"model": str(teacher)}, "student": model | {"model": str(student)}},
        roles={
            "responder": {"model": "teacher"} | free,
            "critic": "student@distill",
            "refiner": {"model": "student@distill"} | free,
        },
        critics=CRITICS,
        repairs=8,
        training={"model": "student", "method": "full", "precision": "fp32", "distill": STAGE, "refine": STAGE},
        store=str(tmp_path / "muser.db"),
        output=str(tmp_path / "output"),
        folder=tmp_path,
    )


def test_the_distilled_student_critiques_and_refines_the_teachers_responses(recipe: Recipe) -> None:
    served: list[str] = []
    with Store.open(recipe.store) as store:
        result = asyncio.run(
            run_pipeline(recipe, store, listener=Listener(on_serve=lambda name, _: served.append(name)))
        )
        assert result.stopped_at == "", result.summary
        assert served == ["teacher", "student@distill"]
        assert [state.state for state in plan(recipe, store)] == ["done"] * 5
        distilled = trained_model(recipe, store, "distill")
        assert distilled is not None
        refine = find_run(store, "vllm-refine")
        assert refine is not None
        assert refine.identity["revisions"] == {"student@distill": distilled.digest}
        for number in range(1, len(QUESTIONS) + 1):
            _is_refined_by_the_student(store, f"q{number:06d}")
        refined = latest_artifact(store, "model", "student", "refine")
        assert refined is not None
        assert refined.digest != distilled.digest
        assert distilled.id in {parent.id for parent in parents_of(store, refined.id or 0)}


def _is_refined_by_the_student(store: Store, key: str) -> None:
    first, trace = get_trace(store, f"vllm-distill/{key}"), get_trace(store, f"vllm-refine/{key}")
    assert (trace.status, trace.origin, trace.response) == ("done", first.id, first.response)
    assert [critique.critic for critique in trace.critiques] == list(CRITICS)
    assert trace.refinement is not None
    answered, improved = calls_of(store, first.id), calls_of(store, trace.id)
    assert {(call.role, call.model, call.reply.model) for call in answered} == {
        ("responder", "teacher", "teacher-base")
    }
    assert {(call.role, call.model, call.reply.model) for call in improved} == {
        (role, "student@distill", "student-distill") for role in (*(f"critics.{name}" for name in CRITICS), "refiner")
    }
    assert all(_keeps_its_form(call) for call in improved if call.outcome == "ok" and call.role != "refiner")


def _keeps_its_form(call: Call) -> bool:
    said = json.loads(call.reply.text, strict=False)
    return set(said) == {"rationale", "verdict"} and said["verdict"] in ("pass", "revise")
