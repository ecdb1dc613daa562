import pytest
from pydantic import JsonValue

from muser.core.errors import InputError
from muser.core.types import SampleInput
from muser.store.file.database import Store
from muser.store.records.artifacts import (
    Artifact,
    artifacts_of,
    decontaminations_of,
    find_artifact,
    latest_artifact,
    parents_of,
    record_artifact,
    samples_of,
)
from muser.store.records.runs import Run, create_run
from muser.store.records.samples import add_samples


@pytest.fixture
def lineage(store: Store, run: Run) -> dict[str, int]:
    """Two stages: rows → adapter → rows of samples that took the first ones' responses → adapter → evaluation."""
    create_run(store, run.model_copy(update={"id": "second"}))
    add_samples(store, run.id, [SampleInput(key=f"s{n}") for n in range(4)], 1)
    add_samples(store, "second", [SampleInput(key=f"s{n}", origin=f"demo/s{n}") for n in range(4)], 1)

    def made(kind: str, name: str, stage: str | None, **links: object) -> int:
        artifact = Artifact(kind=kind, name=name, stage=stage, path=f"{name}-{stage}", digest="d", meta={"loss": [1.5]})
        return record_artifact(store, artifact, **links)  # type: ignore[arg-type]

    first = made("rows", "demo", "distill", samples=["demo/s0", "demo/s1"])
    adapter = made("adapter", "student", "distill", parents=[first])
    rows = made("rows", "second", "refine", samples=["second/s1", "second/s2"])
    final = made("adapter", "student", "refine", parents=[rows, adapter])
    return {
        "first": first,
        "adapter": adapter,
        "rows": rows,
        "final": final,
        "evaluation": made("evaluation", "student", "refine", parents=[final]),
    }


def test_an_artifact_comes_back_as_it_was_recorded(store: Store, lineage: dict[str, int]) -> None:
    found = find_artifact(store, lineage["adapter"])
    assert found is not None
    assert (found.kind, found.name, found.stage, found.meta) == ("adapter", "student", "distill", {"loss": [1.5]})
    assert found.created_at.endswith("Z")
    assert find_artifact(store, 99) is None


def test_the_newest_artifact_of_a_name_and_stage_is_found_by_kind(store: Store, lineage: dict[str, int]) -> None:
    def newest(*kinds: str, name: str = "student", stage: str | None = "refine") -> int | None:
        found = latest_artifact(store, kinds, name, stage)  # type: ignore[arg-type]
        return found.id if found else None

    assert newest("adapter", "model") == lineage["final"]
    assert newest("evaluation", "adapter") == lineage["evaluation"]
    assert newest("adapter", stage="distill") == lineage["adapter"]
    assert newest("adapter", stage=None) is newest("model") is newest("adapter", name="other") is None
    assert latest_artifact(store, "rows", "demo", "distill") is not None


def test_the_traces_that_trained_an_adapter_are_one_question(store: Store, lineage: dict[str, int]) -> None:
    assert samples_of(store, lineage["adapter"]) == ["demo/s0", "demo/s1"]
    assert samples_of(store, lineage["final"]) == ["demo/s0", "demo/s1", "second/s1", "second/s2"]
    assert samples_of(store, lineage["evaluation"]) == samples_of(store, lineage["final"])
    assert samples_of(store, 99) == []


def test_what_became_of_a_sample_is_one_question(store: Store, lineage: dict[str, int]) -> None:
    def became(sample: str) -> set[int | None]:
        return {artifact.id for artifact in artifacts_of(store, sample)}

    everything = set(lineage.values())
    assert became("demo/s0") == everything - {lineage["rows"]}
    assert became("demo/s1") == everything
    assert became("demo/s2") == {lineage["rows"], lineage["final"], lineage["evaluation"]}, (
        "through the later run's sample"
    )
    assert became("demo/s3") == became("nowhere/s1") == set()


def test_an_artifact_names_its_direct_parents(store: Store, lineage: dict[str, int]) -> None:
    assert [parent.id for parent in parents_of(store, lineage["final"])] == [lineage["adapter"], lineage["rows"]]


def test_an_artifact_of_a_sample_that_is_not_there_is_refused_as_a_whole(store: Store, run: Run) -> None:
    artifact = Artifact(kind="rows", name="x", path="x", digest="d")
    with pytest.raises(InputError, match="no sample"):
        record_artifact(store, artifact, samples=["demo/none"])
    assert store.read("SELECT * FROM artifacts") == []


def test_the_newest_comparison_of_rows_or_of_their_run_with_each_benchmark_is_found(store: Store, run: Run) -> None:
    def compare(file: str, matches: int, digest: str = "d", run_id: str | None = None) -> None:
        meta: dict[str, JsonValue] = {"against": {file: "sha"}, "matches": matches}
        record_artifact(
            store,
            Artifact(kind="decontamination", name="x", path=file, digest=digest, run_id=run_id, meta=meta),
        )

    compare("a.jsonl", 3)
    compare("a.jsonl", 0)
    compare("b.jsonl", 1, "other", run.id)
    compare("c.jsonl", 2, "other")
    rows = Artifact(kind="rows", name="demo", path="rows", digest="d", run_id=run.id)
    found = [(one.path, one.meta["matches"]) for one in decontaminations_of(store, rows)]
    assert found == [("a.jsonl", 0), ("b.jsonl", 1)]
