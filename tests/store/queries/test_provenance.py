"""From rows and models back to traces, and from a trace to all that it went into."""

import asyncio
import json
from pathlib import Path

import pytest

from muser.core.errors import InputError
from muser.core.types import Response, SampleInput
from muser.store.file.database import Store
from muser.store.queries.export import export_rows
from muser.store.queries.provenance import ArtifactLineage, RowLineage, SampleLineage, trace_lineage
from muser.store.records.artifacts import Artifact, record_artifact
from muser.store.records.runs import Run, create_run
from muser.store.records.samples import add_samples, record_sample


@pytest.fixture
def rows(store: Store, run: Run, tmp_path: Path) -> tuple[Path, Path]:
    """Two stages of three samples, the second's made from the first's; one of the first failed. Their two files."""
    create_run(store, run.model_copy(update={"id": "second", "name": "second"}))
    for name, origin in (("demo", ""), ("second", "demo/")):
        answered = Response(reasoning="", answer="Rest.")
        inputs = [
            SampleInput(key=f"s{n}", query=f"Q{n}", response=answered, origin=origin + f"s{n}" if origin else None)
            for n in range(3)
        ]
        add_samples(store, name, inputs, 1)
        for n in range(3):
            state = {
                "query": f"Q{n}",
                "response": {"reasoning": "", "answer": "Rest."},
                "refinement": {"reasoning": "We rest.", "answer": f"Rest well, {n}."} if origin else None,
            }
            failed = name == "demo" and n == 1
            asyncio.run(
                record_sample(
                    store, f"{name}/s{n}", status="failed" if failed else "done", state=state, checkpoint_id=f"c{n}"
                )
            )
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    distill = export_rows(store, "demo", "distill", first)
    refine = export_rows(store, "second", "refine", second)

    def made(kind: str, stage: str, *parents: int | None) -> int:
        artifact = Artifact(kind=kind, name="student", stage=stage, path=f"{kind}-{stage}", digest="d")
        return record_artifact(store, artifact, parents=[parent for parent in parents if parent])

    adapter = made("adapter", "distill", distill.id)
    made("evaluation", "refine", made("model", "refine", refine.id, adapter))
    return first, second


def sample(store: Store, text: str) -> SampleLineage:
    found = trace_lineage(store, text)
    assert isinstance(found, SampleLineage)
    return found


def row(store: Store, text: str) -> RowLineage:
    found = trace_lineage(store, text)
    assert isinstance(found, RowLineage)
    return found


def artifact(store: Store, text: str) -> ArtifactLineage:
    found = trace_lineage(store, text)
    assert isinstance(found, ArtifactLineage)
    return found


def test_a_row_leads_to_its_trace(store: Store, rows: tuple[Path, Path]) -> None:
    found = row(store, f"{rows[0]}:2")
    assert (found.sample.sample, found.stage, found.checkpoint) == ("demo/s2", "distill", "c2")
    refined = row(store, f"{rows[1]}:3")
    assert (refined.sample.sample, refined.stage) == ("second/s2", "refine")
    assert refined.sample.made_from == ("demo/s2",)


def test_a_sample_leads_to_every_row_and_model(store: Store, rows: tuple[Path, Path]) -> None:
    found = sample(store, "demo/s2")
    assert (found.made_from, found.made_into) == ((), ("second/s2",))
    assert [(use.path, use.line, use.stage, use.sample) for use in found.rows] == [
        (str(rows[0]), 2, "distill", "demo/s2"),
        (str(rows[1]), 3, "refine", "second/s2"),
    ]
    for use in found.rows:
        assert row(store, f"{use.path}:{use.line}").sample.sample == use.sample
    assert [(one.kind, one.stage) for one in found.artifacts] == [
        ("adapter", "distill"),
        ("model", "refine"),
        ("evaluation", "refine"),
    ]


def test_a_failed_sample_went_into_what_was_made_from_it_alone(store: Store, rows: tuple[Path, Path]) -> None:
    found = sample(store, "demo/s1")
    assert (found.status, [use.sample for use in found.rows]) == ("failed", ["second/s1"])


@pytest.mark.parametrize("name", ["student@refine", "model-refine", "4"])
def test_a_model_leads_to_the_traces_that_trained_it(store: Store, rows: tuple[Path, Path], name: str) -> None:
    nodes = artifact(store, name).nodes
    assert [(node.artifact.kind, node.artifact.stage) for node in nodes] == [
        ("model", "refine"),
        ("rows", "refine"),
        ("adapter", "distill"),
        ("rows", "distill"),
    ]
    assert [(s.run, s.made_from, s.samples, s.example) for s in nodes[1].sources] == [
        ("second", "demo", 3, "second/s0")
    ]
    assert [(s.run, s.made_from, s.samples) for s in nodes[3].sources] == [("demo", None, 2)]
    assert nodes[0].parents == (nodes[1].artifact.id, nodes[2].artifact.id)


def test_a_file_of_rows_is_an_artifact_too(store: Store, rows: tuple[Path, Path]) -> None:
    nodes = artifact(store, str(rows[1])).nodes
    assert [(node.artifact.kind, node.sources[0].run) for node in nodes] == [("rows", "second")]


def test_a_row_that_was_edited_is_told_from_the_stored_one(store: Store, rows: tuple[Path, Path]) -> None:
    value = json.loads(rows[0].read_text().splitlines()[0])
    value["completion"][0]["content"] = "Run."
    rows[0].write_text(json.dumps(value) + "\n")
    assert row(store, f"{rows[0]}:1").stage is None


def test_a_file_that_was_exported_again_is_said_to_be_overwritten(store: Store, rows: tuple[Path, Path]) -> None:
    state = {"query": "Q1", "response": {"reasoning": "", "answer": "Rest."}}
    asyncio.run(record_sample(store, "demo/s1", status="done", state=state))
    export_rows(store, "demo", "distill", rows[0])
    uses = [use for use in sample(store, "demo/s2").rows if use.sample == "demo/s2"]
    assert [(use.line, use.overwritten) for use in uses] == [(2, True), (3, False)]


def test_what_has_no_lineage_is_refused(store: Store, rows: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no row on line 9"):
        trace_lineage(store, f"{rows[0]}:9")
    with pytest.raises(InputError, match="no row, artifact or sample"):
        trace_lineage(store, "student")
    with pytest.raises(InputError, match="Several runs"):
        trace_lineage(store, "s2")
    foreign = tmp_path / "foreign.jsonl"
    foreign.write_text('{"prompt": []}\n{"sample": "other/s1"}\nnot JSON\n[]\n')
    for line, said in (
        (1, "does not name"),
        (2, "other/s1, which is not in"),
        (3, "not JSON"),
        (4, "not a JSON object"),
    ):
        with pytest.raises(InputError, match=said):
            trace_lineage(store, f"{foreign}:{line}")
