"""Artifacts: files made from samples or other artifacts, with links in both directions."""

import json
from collections.abc import Iterable
from sqlite3 import Connection
from typing import Any, Literal

from pydantic import Field, JsonValue

from ...core.types import Stage, Value
from ..file.database import Store, now
from .samples import row_id

ArtifactKind = Literal["rows", "adapter", "model", "evaluation", "report", "decontamination"]


class Artifact(Value):
    """A file or folder that was made. It is looked up by `name`: the trained model's, or the run's.

    The store sets `id` and `created_at`. `digest` is the SHA-256 of the file, or of what its maker defines as content.
    """

    id: int | None = None
    kind: ArtifactKind
    name: str
    stage: Stage | None = None
    path: str
    digest: str
    run_id: str | None = None
    meta: dict[str, JsonValue] = Field(default_factory=dict)
    created_at: str = ""


def record_artifact(
    store: Store, artifact: Artifact, *, samples: Iterable[str] = (), parents: Iterable[int] = ()
) -> int:
    """Record an artifact, the samples it was made from and its parent artifacts; returns its id."""
    used, came_from = list(samples), list(parents)
    return store.write_now(lambda db: insert_artifact(db, artifact, [row_id(db, one) for one in used], came_from))


def insert_artifact(db: Connection, artifact: Artifact, samples: Iterable[int], parents: Iterable[int] = ()) -> int:
    """`record_artifact` inside a change. `samples` are integer row keys; in a file of rows, one for each line."""
    return insert_lines(db, artifact, enumerate(samples, start=1), parents)


def insert_lines(
    db: Connection, artifact: Artifact, samples: Iterable[tuple[int, int]], parents: Iterable[int] = ()
) -> int:
    """`insert_artifact` with samples as (line, row key), for files that also have lines of other origin."""
    row = artifact.model_dump(exclude={"id"}) | {"meta": json.dumps(artifact.meta), "created_at": now()}
    made = int(db.execute(INSERT, row).fetchone()[0])
    # OR IGNORE: a sample with several rows in the file keeps the line of the first.
    rows = ((made, one, line) for line, one in samples)
    db.executemany("INSERT OR IGNORE INTO artifact_samples (artifact_id, sample_id, line) VALUES (?, ?, ?)", rows)
    add_parents(db, made, parents)
    return made


def link_parents(store: Store, artifact_id: int, parents: Iterable[int]) -> None:
    """Add parents to an artifact; existing links stay."""
    wanted = set(parents) - {one.id for one in parents_of(store, artifact_id)}
    if wanted:
        store.write_now(lambda db: add_parents(db, artifact_id, sorted(wanted)))


def add_parents(db: Connection, artifact_id: int, parents: Iterable[int]) -> None:
    """`link_parents` inside a change."""
    links = ((artifact_id, one) for one in parents)
    db.executemany("INSERT OR IGNORE INTO artifact_parents VALUES (?, ?)", links)


INSERT = """
    INSERT INTO artifacts (kind, name, stage, path, digest, run_id, meta, created_at)
    VALUES (:kind, :name, :stage, :path, :digest, :run_id, :meta, :created_at) RETURNING id"""


def find_artifact(store: Store, artifact_id: int) -> Artifact | None:
    """The artifact with this id."""
    return _first(store.read("SELECT * FROM artifacts WHERE id = ?", (artifact_id,)))


def list_artifacts(store: Store) -> list[Artifact]:
    """Every artifact, oldest first."""
    return [_artifact(row) for row in store.read("SELECT * FROM artifacts ORDER BY id")]


def find_rows(store: Store, digest: str, stage: Stage) -> Artifact | None:
    """The newest file of rows with this digest and stage, at any path; those linked to samples come first."""
    return _first(store.read(SAME_ROWS, (digest, stage)))


SAME_ROWS = """
    SELECT * FROM artifacts WHERE kind = 'rows' AND digest = ? AND stage = ?
    ORDER BY id IN (SELECT artifact_id FROM artifact_samples) DESC, id DESC LIMIT 1"""


def latest_artifact(
    store: Store, kind: ArtifactKind | Iterable[ArtifactKind], name: str, stage: Stage | None = None
) -> Artifact | None:
    """The newest artifact of this name, stage and kind, or of one of several kinds."""
    kinds = json.dumps([kind] if isinstance(kind, str) else list(kind))
    return _first(store.read(LATEST, {"name": name, "stage": stage, "kinds": kinds}))


LATEST = """
    SELECT * FROM artifacts WHERE name = :name AND stage IS :stage AND kind IN (SELECT value FROM json_each(:kinds))
    ORDER BY id DESC LIMIT 1"""


def decontaminations_of(store: Store, rows: Artifact) -> list[Artifact]:
    """The comparisons of a file of rows, or of its run, with benchmarks: the newest for each benchmark."""
    return [_artifact(row) for row in store.read(DECONTAMINATIONS, (rows.digest, rows.run_id))]


# With max(id), the columns that are not grouped come from that row (sqlite.org/lang_select.html#bareagg).
DECONTAMINATIONS = """
    SELECT id, kind, name, stage, path, digest, run_id, meta, created_at FROM (
        SELECT *, max(id) FROM artifacts WHERE kind = 'decontamination' AND (digest = ? OR run_id = ?)
        GROUP BY meta ->> 'against') ORDER BY id"""


def samples_of(store: Store, artifact_id: int) -> list[str]:
    """The ids of all samples in an artifact and in the artifacts it comes from, in the store's order."""
    return [row["sample"] for row in store.stream(SAMPLES_OF, (artifact_id,))]


# UNION and not UNION ALL in the recursive queries: it drops rows that were found before, so an artifact reached in two
# ways counts once, and a cycle would end (sqlite.org/lang_with.html).
SAMPLES_OF = """
    WITH RECURSIVE source (id) AS (
        VALUES (?) UNION SELECT parent_id FROM artifact_parents JOIN source ON source.id = artifact_id)
    SELECT DISTINCT samples.id, run_id || '/' || key AS sample FROM source
    JOIN artifact_samples ON artifact_id = source.id JOIN samples ON samples.id = sample_id ORDER BY samples.id"""


def artifacts_of(store: Store, sample_id: str) -> list[Artifact]:
    """The artifacts derived from a sample, directly or through other artifacts, oldest first.

    Artifacts of the samples that were made from this one are included.
    """
    run_id, _, key = sample_id.rpartition("/")
    return [_artifact(row) for row in store.read(ARTIFACTS_OF, {"run_id": run_id, "key": key})]


ARTIFACTS_OF = """
    WITH RECURSIVE descendant (id, name) AS (
        SELECT id, run_id || '/' || key FROM samples WHERE run_id = :run_id AND key = :key
        UNION SELECT samples.id, samples.run_id || '/' || samples.key FROM samples
            JOIN descendant ON samples.origin = descendant.name),
    made (id) AS (
        SELECT artifact_id FROM artifact_samples JOIN descendant ON descendant.id = sample_id
        UNION SELECT artifact_id FROM artifact_parents JOIN made ON parent_id = made.id)
    SELECT artifacts.* FROM artifacts JOIN made USING (id) ORDER BY id"""


def parents_of(store: Store, artifact_id: int) -> list[Artifact]:
    """An artifact's direct parents."""
    sql = "SELECT artifacts.* FROM artifact_parents JOIN artifacts ON id = parent_id WHERE artifact_id = ? ORDER BY id"
    return [_artifact(row) for row in store.read(sql, (artifact_id,))]


def _first(rows: list[dict[str, Any]]) -> Artifact | None:
    return _artifact(rows[0]) if rows else None


def _artifact(row: dict[str, Any]) -> Artifact:
    return Artifact(**row | {"meta": json.loads(row["meta"])})
