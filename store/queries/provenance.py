"""The lineage of training rows, artifacts and samples, in both directions."""

from pathlib import Path
from typing import Any, Literal

from pydantic import JsonValue

from ...core.errors import InputError
from ...core.jsonl import parse_object, read_lines
from ...core.types import SampleStatus, Value
from ..file.database import Store
from ..records.artifacts import Artifact, artifacts_of, find_artifact, latest_artifact, list_artifacts, parents_of
from ..records.samples import find_sample, get_trace
from .export import RowStage, row_of


class RowUse(Value):
    """A sample's place in a file of training rows; `overwritten` by a later export to the same path."""

    artifact: int
    stage: RowStage
    path: str
    line: int
    sample: str
    overwritten: bool


class SampleLineage(Value):
    """A sample, the samples it was made from (nearest first), the samples made from it, its rows and its artifacts.

    `rows` and `artifacts` include those of the samples made from it.
    """

    kind: Literal["sample"] = "sample"
    sample: str
    status: SampleStatus
    made_from: tuple[str, ...]
    made_into: tuple[str, ...]
    rows: tuple[RowUse, ...]
    artifacts: tuple[Artifact, ...]


class RowLineage(Value):
    """A row of a file, its sample and the sample's last checkpoint.

    `stage` is the stage for which the store has exactly this row, else None.
    """

    kind: Literal["row"] = "row"
    path: str
    line: int
    stage: RowStage | None
    checkpoint: str | None
    sample: SampleLineage


class Source(Value):
    """The number of a run's samples in an artifact; `made_from` is the run that they were made from, if any."""

    run: str
    made_from: str | None
    samples: int
    example: str


class Node(Value):
    """An artifact, the samples it was made from directly, and the ids of the artifacts it was made from."""

    artifact: Artifact
    sources: tuple[Source, ...]
    parents: tuple[int, ...]


class ArtifactLineage(Value):
    """An artifact, then every artifact it was made from, each once."""

    kind: Literal["artifact"] = "artifact"
    nodes: tuple[Node, ...]


Lineage = RowLineage | SampleLineage | ArtifactLineage


def trace_lineage(store: Store, text: str) -> Lineage:
    """The lineage of what `text` names: FILE:LINE, an artifact's id, path or NAME@STAGE, or a sample.

    Raises InputError if it names nothing, or a row whose sample is not in this store.
    """
    file, _, line = text.rpartition(":")
    if line.isdigit() and Path(file).is_file():
        return row_lineage(store, Path(file), int(line))
    if (artifact := _find_artifact(store, text)) is not None:
        return artifact_lineage(store, artifact)
    try:
        return sample_lineage(store, find_sample(store, text))
    except InputError as error:
        if not error.what.startswith("There is no sample"):
            raise
        raise InputError(
            f"there is no row, artifact or sample {text}",
            where=str(store.path),
            todo="name a row as FILE:LINE, an artifact by its id, path or NAME@STAGE, or a sample as RUN/KEY",
        ) from error


def row_lineage(store: Store, path: Path, line: int) -> RowLineage:
    """The sample behind a training row."""
    row = _read_row(path, line)
    where = f"{path}:{line}"
    sample = row.get("sample")
    if not isinstance(sample, str):
        raise InputError("this row does not name its sample", where=where, todo="trace a row that muser exported")
    try:
        lineage = sample_lineage(store, sample)
    except InputError as error:
        raise InputError(
            f"the row was made from sample {sample}, which is not in {store.path}",
            where=where,
            todo="use --store to name the store that it was exported from",
        ) from error
    said = ("prompt", "completion")
    stages: tuple[RowStage, ...] = ("distill", "refine")
    same = [stage for stage in stages if _only(row_of(store, sample, stage), said) == _only(row, said)]
    return RowLineage(
        path=str(path),
        line=line,
        stage=same[0] if same else None,
        checkpoint=get_trace(store, sample).checkpoint_id,
        sample=lineage,
    )


def sample_lineage(store: Store, sample_id: str) -> SampleLineage:
    """The samples that a sample was made from, and every row and artifact made from it."""
    trace = get_trace(store, sample_id)
    made_from, origin = list[str](), trace.origin
    while origin is not None and origin not in (sample_id, *made_from):
        made_from.append(origin)
        found = store.read(ORIGIN, _place(origin))
        origin = found[0]["origin"] if found else None
    place = _place(sample_id)
    return SampleLineage(
        sample=sample_id,
        status=trace.status,
        made_from=tuple(made_from),
        made_into=tuple(row["name"] for row in store.read(DESCENDANTS + MADE_INTO, place)),
        rows=tuple(
            RowUse(**row | {"overwritten": bool(row["overwritten"])}) for row in store.read(DESCENDANTS + USES, place)
        ),
        artifacts=tuple(one for one in artifacts_of(store, sample_id) if one.kind != "rows"),
    )


def artifact_lineage(store: Store, artifact: Artifact) -> ArtifactLineage:
    """What an artifact was made from, down to the samples."""
    nodes: dict[int | None, Node] = {}
    waiting = [artifact]
    while waiting:
        one = waiting.pop(0)
        if one.id in nodes:
            continue
        parents = parents_of(store, one.id or 0)
        sources = [Source(**row) for row in store.read(SOURCES, (one.id,))]
        nodes[one.id] = Node(artifact=one, sources=tuple(sources), parents=tuple(p.id for p in parents if p.id))
        waiting += parents
    return ArtifactLineage(nodes=tuple(nodes.values()))


def _find_artifact(store: Store, text: str) -> Artifact | None:
    if text.isdigit():
        return find_artifact(store, int(text))
    name, _, stage = text.rpartition("@")
    if name and stage in ("distill", "refine"):
        return latest_artifact(store, ("model", "adapter"), name, stage)  # type: ignore[arg-type]
    place = Path(text).resolve()
    found = [one for one in list_artifacts(store) if one.path == text or Path(one.path).resolve() == place]
    return found[-1] if found else None


def _read_row(path: Path, line: int) -> dict[str, JsonValue]:
    text = next((text for number, text in read_lines(path) if number == line), None)
    if text is None:
        raise InputError(f"the file has no row on line {line}", where=str(path))
    try:
        return parse_object(text)
    except ValueError as error:
        raise InputError(f"the row cannot be read: {error}", where=f"{path}:{line}") from error


def _only(row: dict[str, Any] | None, names: tuple[str, ...]) -> list[Any] | None:
    return None if row is None else [row.get(name) for name in names]


def _place(sample_id: str) -> dict[str, str]:
    run_id, _, key = sample_id.rpartition("/")
    return {"run_id": run_id, "key": key}


ORIGIN = "SELECT origin FROM samples WHERE run_id = :run_id AND key = :key"

DESCENDANTS = """
    WITH RECURSIVE descendant (id, name) AS (
        SELECT id, run_id || '/' || key FROM samples WHERE run_id = :run_id AND key = :key
        UNION SELECT samples.id, samples.run_id || '/' || samples.key FROM samples
            JOIN descendant ON samples.origin = descendant.name)"""

MADE_INTO = "SELECT name FROM descendant WHERE name <> :run_id || '/' || :key ORDER BY id"

USES = """
    SELECT artifacts.id AS artifact, stage, path, descendant.name AS sample,
        line,
        EXISTS (SELECT 1 FROM artifacts later WHERE later.kind = 'rows' AND later.path = artifacts.path
            AND later.id > artifacts.id) AS overwritten
    FROM descendant JOIN artifact_samples ON sample_id = descendant.id
    JOIN artifacts ON artifacts.id = artifact_id AND artifacts.kind = 'rows' ORDER BY artifacts.id, descendant.id"""

# An origin is RUN/KEY, and a key has no slash. SQLite cannot search for the last one, so the inner rtrim() drops every
# character but slashes from the end, and the outer one the slash.

SOURCES = """
    SELECT run_id AS run, rtrim(rtrim(origin, replace(origin, '/', '')), '/') AS made_from, count(*) AS samples,
        run_id || '/' || min(key) AS example
    FROM artifact_samples JOIN samples ON samples.id = sample_id WHERE artifact_id = ? GROUP BY 1, 2 ORDER BY 1, 2"""
