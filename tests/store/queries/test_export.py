import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from muser.core.errors import InputError, StoreError
from muser.core.types import Message, Response, SampleInput
from muser.store.file.database import Store
from muser.store.queries.export import RowStage, export_rows, own_rows, rows
from muser.store.queries.provenance import sample_lineage
from muser.store.records.artifacts import artifacts_of, find_artifact, samples_of
from muser.store.records.runs import Run, create_run
from muser.store.records.samples import add_samples, get_trace, record_sample


def state(number: int, refined: bool = True, reasoning: str = "think") -> dict[str, Any]:
    return {
        "query": f"query {number}",
        "response": {"reasoning": reasoning, "answer": f"answer {number}"},
        "refinement": {"reasoning": f"{reasoning} more", "answer": f"better {number}"} if refined else None,
    }


@pytest.fixture
async def finished(store: Store, run: Run) -> Run:
    """Five samples: two refined, one without reasoning and refinement, one failed, one pending."""
    add_samples(store, run.id, [SampleInput(key=f"s{n}") for n in range(5)], 1)
    await record_sample(store, "demo/s1", status="done", state=state(1), checkpoint_id="c1")
    await record_sample(store, "demo/s0", status="done", state=state(0), checkpoint_id="c0")
    await record_sample(store, "demo/s2", status="done", state=state(2, refined=False, reasoning=""))
    await record_sample(store, "demo/s3", status="failed", state=state(3), cause=ValueError("x"))
    return run


def test_a_distill_row_teaches_the_response_to_the_query_alone(store: Store, finished: Run) -> None:
    found = list(rows(store, "demo", "distill"))
    assert [row["sample"] for row in found] == ["demo/s0", "demo/s1", "demo/s2"]
    assert found[0] == {
        "prompt": [{"role": "user", "content": "query 0"}],
        "completion": [{"role": "assistant", "content": "<think>\nthink\n</think>\n\nanswer 0"}],
        "stage": "distill",
        "run": "demo",
        "sample": "demo/s0",
        "prompts": {"persona": "p"},
    }
    assert found[2]["completion"] == [{"role": "assistant", "content": "answer 2"}]


async def test_a_row_has_the_attributes_of_who_asks_in_the_persona_s_order(store: Store, run: Run) -> None:
    persona = {"ward": "7", "language": "हिन्दी", "age": "40"}
    add_samples(store, run.id, [SampleInput(key="a", persona=persona, query="Why?"), SampleInput(key="b")], 1)
    for key, who in (("a", persona), ("b", None)):
        await record_sample(store, f"demo/{key}", status="done", state=state(1) | {"persona": who})
    for stage in ("distill", "refine"):
        first, second = rows(store, "demo", stage)
        assert list(first["persona"].items()) == list(persona.items())
        assert "persona" not in second


async def test_a_row_has_the_earlier_turns_as_turns_and_the_fields_of_the_query_file(store: Store, run: Run) -> None:
    turns = (Message(role="user", content="My back hurts."), Message(role="assistant", content="Since when?"))
    given = SampleInput(key="a", history=turns, query="Since Monday.\ud800", extra={"source": "ward 7", "n": [1, None]})
    add_samples(store, run.id, [given], 1)
    said = {"query": given.query, "response": {"reasoning": "", "answer": "Rest."}}
    await record_sample(store, "demo/a", status="done", state=said)
    [row] = rows(store, "demo", "distill")
    assert row["prompt"] == [
        {"role": "user", "content": "My back hurts."},
        {"role": "assistant", "content": "Since when?"},
        {"role": "user", "content": "Since Monday.\ufffd"},
    ]
    assert row["extra"] == {"source": "ward 7", "n": [1, None]}
    assert get_trace(store, "demo/a").history == turns


@pytest.mark.parametrize("stage", ["distill", "refine"])
def test_an_evaluation_is_never_exported(store: Store, tmp_path: Path, stage: RowStage) -> None:
    judged = Run(id="eval", name="eval", kind="evaluation", recipe="name: eval\n", identity={}, fingerprint="f")
    create_run(store, judged)
    add_samples(store, "eval", [SampleInput(key="a", query="Q", response=Response(answer="A"))], 1)
    store.write_now(lambda db: db.execute("UPDATE samples SET status = 'done'").rowcount)
    with pytest.raises(InputError, match="is an evaluation"):
        export_rows(store, "eval", stage, tmp_path / "rows.jsonl")
    assert not (tmp_path / "rows.jsonl").exists()


def test_a_file_with_the_words_of_an_export_is_that_export_wherever_it_lies(
    store: Store, finished: Run, tmp_path: Path
) -> None:
    artifact = export_rows(store, "demo", "distill", tmp_path / "rows.jsonl")
    found = own_rows(store, tmp_path / "moved.jsonl", "distill", artifact.digest, {"demo/s0": 1})
    assert found.id == artifact.id


def test_a_file_of_chosen_rows_is_linked_to_their_samples_at_their_lines(
    store: Store, finished: Run, tmp_path: Path
) -> None:
    path = tmp_path / "chosen.jsonl"
    found = own_rows(store, path, "distill", "d" * 64, {"demo/s2": 1, "demo/s0": 3, "elsewhere/s9": 4})
    assert samples_of(store, found.id or 0) == ["demo/s0", "demo/s2"]
    assert [(use.path, use.line) for use in sample_lineage(store, "demo/s0").rows] == [(str(path), 3)]


def test_rows_of_an_evaluation_cannot_be_brought_in_a_file(store: Store, finished: Run, tmp_path: Path) -> None:
    store.write_now(lambda db: db.execute("UPDATE runs SET kind = 'evaluation'").rowcount)
    with pytest.raises(InputError, match="sample of an evaluation") as refused:
        own_rows(store, tmp_path / "rows.jsonl", "distill", "d" * 64, {"demo/s0": 4})
    assert refused.value.where == f"{tmp_path / 'rows.jsonl'}:4"


def test_a_refine_row_teaches_the_refinement_of_samples_that_have_one(store: Store, finished: Run) -> None:
    found = list(rows(store, "demo", "refine"))
    assert [row["sample"] for row in found] == ["demo/s0", "demo/s1"]
    assert found[0]["completion"][0]["content"] == "<think>\nthink more\n</think>\n\nbetter 0"


def test_an_export_is_a_file_of_rows_and_an_artifact_that_knows_its_samples(
    store: Store, finished: Run, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    artifact = export_rows(store, "demo", "refine", path)
    lines = path.read_bytes()
    assert [json.loads(line) for line in lines.splitlines()] == list(rows(store, "demo", "refine"))
    assert artifact.digest == hashlib.sha256(lines).hexdigest()
    assert (artifact.kind, artifact.stage, artifact.run_id, artifact.meta) == ("rows", "refine", "demo", {"rows": 2})
    assert artifact.id is not None
    recorded = find_artifact(store, artifact.id)
    assert recorded is not None
    assert recorded.model_copy(update={"created_at": ""}) == artifact
    assert samples_of(store, artifact.id) == ["demo/s0", "demo/s1"]
    assert [one.id for one in artifacts_of(store, "demo/s1")] == [artifact.id]
    assert artifacts_of(store, "demo/s2") == []
    assert [file.name for file in path.parent.iterdir()] == ["rows.jsonl"]


async def test_the_same_rows_at_the_same_place_are_the_same_artifact(
    store: Store, finished: Run, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    first = export_rows(store, "demo", "distill", path)
    assert export_rows(store, "demo", "distill", path) == first
    await record_sample(store, "demo/s4", status="done", state=state(4))
    second = export_rows(store, "demo", "distill", path)
    assert second.id != first.id
    assert second.digest != first.digest


async def test_rows_are_text_that_every_json_reader_takes(store: Store, finished: Run, tmp_path: Path) -> None:
    hostile = {"query": "é\u2028\ud800\0", "response": {"reasoning": "", "answer": '\udfff\n"quoted" 漢字 \x1b'}}
    await record_sample(store, "demo/s0", status="done", state=hostile)
    path = tmp_path / "rows.jsonl"
    export_rows(store, "demo", "distill", path)
    first = path.read_text(encoding="utf-8").split("\n")[0]
    row = json.loads(first)
    assert row["prompt"][0]["content"] == "é\u2028\ufffd\ufffd"
    assert row["completion"][0]["content"] == '\ufffd\n"quoted" 漢字 \x1b'
    assert "漢字" in first


@pytest.mark.parametrize(
    ("stage", "why"), [("distill", r"no finished sample.*2 pending, 1 failed"), ("refine", r"no finished sample")]
)
async def test_a_stage_without_a_finished_sample_says_so_and_writes_nothing(
    store: Store, run: Run, tmp_path: Path, stage: Any, why: str
) -> None:
    add_samples(store, run.id, [SampleInput(key=f"s{n}") for n in range(3)], 1)
    await record_sample(store, "demo/s0", status="failed", state=state(0), cause=ValueError("x"))
    path = tmp_path / "out" / "rows.jsonl"
    path.parent.mkdir()
    path.write_text("last good rows")
    with pytest.raises(InputError, match=why) as caught:
        export_rows(store, "demo", stage, path)
    assert "muser retry" in caught.value.todo
    assert [(file.name, file.read_text()) for file in path.parent.iterdir()] == [("rows.jsonl", "last good rows")]
    assert store.read("SELECT * FROM artifacts") == []


async def test_a_run_that_nobody_refined_says_so(store: Store, run: Run, tmp_path: Path) -> None:
    add_samples(store, run.id, [SampleInput(key="s0")], 1)
    await record_sample(store, "demo/s0", status="done", state=state(0, refined=False))
    with pytest.raises(InputError, match="No finished sample of run demo was refined") as caught:
        export_rows(store, "demo", "refine", tmp_path / "rows.jsonl")
    assert "critics" in caught.value.todo


def test_an_unknown_run_and_a_place_that_cannot_be_written_are_reported(
    store: Store, finished: Run, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no run 'nothing'"):
        export_rows(store, "nothing", "distill", tmp_path / "rows.jsonl")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        export_rows(store, "demo", "distill", tmp_path / "file" / "rows.jsonl")
