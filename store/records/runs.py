"""Runs: many samples under one resolved recipe."""

import json
from collections.abc import Mapping, Sequence
from sqlite3 import Connection, Row
from typing import Any, Literal

from pydantic import Field, JsonValue

from ...core.types import PromptFile, Value
from ..file.database import Store, now
from .workers import workers_of

RunKind = Literal["samples", "evaluation"]
JSON = ("identity", "prompts", "prompt_files", "versions", "changes", "servers")
RunStatus = Literal["running", "stopped", "done"]


class Run(Value):
    """A run's row. `identity` is everything that decides its samples' content, and `fingerprint` is its digest.

    `prompts` is role → digest, and `prompt_files` has the files that its roles read. `recipe` is the resolved YAML, and
    its input paths are relative to `folder`. A run of forks has a `parent`, whose samples it reruns from `node` on;
    `changes` lists how its recipe differs. `servers` have answered it so far: model → address → the model name that the
    server reports, or empty.
    """

    id: str
    name: str
    kind: RunKind = "samples"
    recipe: str
    folder: str = "."
    identity: dict[str, JsonValue]
    fingerprint: str
    seed: int = 0
    prompts: dict[str, str] = Field(default_factory=dict)
    prompt_files: dict[str, PromptFile] = Field(default_factory=dict)
    status: RunStatus = "running"
    created_at: str = ""
    finished_at: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    git_commit: str | None = None
    parent: str | None = None
    node: str | None = None
    changes: tuple[str, ...] = ()
    servers: dict[str, dict[str, str]] = Field(default_factory=dict)
    simulated: bool = False

    @property
    def replayed_round(self) -> int | None:
        """The round of `node` that the forks start in, if the replay gave one."""
        fork = self.identity.get("fork")
        number = fork.get("round") if isinstance(fork, dict) else None
        return number if isinstance(number, int) else None


class RunLine(Value):
    """A run in a list: its samples by status and its tokens; for a run of forks, the parent and the node.

    `simulated`: the simulated endpoint answered at least one of its calls. A run is `failed` if it ended with failed
    samples and no finished one.
    """

    id: str
    name: str
    kind: RunKind
    status: RunStatus | Literal["failed"]
    created_at: str
    finished_at: str | None
    parent: str | None
    node: str | None
    total: int
    done: int
    failed: int
    pending: int
    running: int
    calls: int
    tokens_in: int
    tokens_out: int
    tokens_cached: int
    simulated: bool
    score: float | None
    """an evaluation's mean score, from 0 to 1; none before an example was judged completely"""


def create_run(store: Store, run: Run) -> Run:
    """Record a run; the store sets `created_at`."""
    return store.write_now(lambda db: insert_run(db, run))


def start_run(store: Store, run: Run, *, new: bool = False) -> Run:
    """The run to continue: the newest of this name or, for forks, the newest of this parent and fingerprint.

    If there is none, or if `new`, this run is recorded under the next free id. If several processes start at the same
    time, one creates the run and the others get it.
    """
    known = (FORKS, (run.parent, run.fingerprint)) if run.parent else (LATEST, (run.name,))

    # Look-up and insert in one transaction: of two processes that start at once, the second finds the first one's run.
    def change(db: Connection) -> Run:
        found = None if new else db.execute(*known).fetchone()
        return _run(found) if found else insert_run(db, run.model_copy(update={"id": free_id(db, run.name)}))

    return store.write_now(change)


def insert_run(db: Connection, run: Run) -> Run:
    """`create_run` inside a change."""
    created = run.model_copy(update={"created_at": now()})
    row = created.model_dump()
    db.execute(CREATE, row | {name: json.dumps(row[name]) for name in JSON})
    return created


CREATE = """
    INSERT INTO runs (id, name, kind, status, seed, fingerprint, recipe, folder, identity, prompts, prompt_files,
        versions, git_commit, created_at, finished_at, parent, node, changes, servers)
    VALUES (:id, :name, :kind, :status, :seed, :fingerprint, :recipe, :folder, :identity, :prompts, :prompt_files,
        :versions, :git_commit, :created_at, :finished_at, :parent, :node, :changes,
        :servers)"""


def add_servers(store: Store, run_id: str, told: Mapping[str, Mapping[str, str]]) -> None:
    """Record more servers that have answered the run."""

    def change(db: Connection) -> None:
        found = db.execute("SELECT servers FROM runs WHERE id = ?", (run_id,)).fetchone()
        known = json.loads(found["servers"])
        merged = known | {model: {**known.get(model, {}), **servers} for model, servers in told.items()}
        db.execute("UPDATE runs SET servers = ? WHERE id = ?", (json.dumps(merged), run_id))

    store.write_now(change)


def find_run(store: Store, run_id: str) -> Run | None:
    """The run with this id."""
    rows = store.read("SELECT * FROM runs WHERE id = ?", (run_id,))
    return _run(rows[0]) if rows else None


def latest_run(store: Store, name: str) -> Run | None:
    """The newest run of a recipe's name."""
    rows = store.read(LATEST, (name,))
    return _run(rows[0]) if rows else None


FORKS = "SELECT * FROM runs WHERE parent = ? AND fingerprint = ? ORDER BY rowid DESC LIMIT 1"
LATEST = "SELECT * FROM runs WHERE name = ? ORDER BY rowid DESC LIMIT 1"


def next_run_id(store: Store, name: str) -> str:
    """`name` for its first run, then `name-2` and so on; the first that is free."""
    with store.reader() as db:
        return free_id(db, name)


def free_id(db: Connection, name: str) -> str:
    """`next_run_id` inside a change, so that no other process can take the id."""
    taken = {row[0] for row in db.execute("SELECT id FROM runs WHERE id = ? OR id GLOB ? || '-*'", (name, name))}
    count = 1
    while (run_id := name if count == 1 else f"{name}-{count}") in taken:
        count += 1
    return run_id


def answered_runs(store: Store) -> list[Run]:
    """All runs that a server has answered, newest first."""
    return [_run(row) for row in store.read("SELECT * FROM runs WHERE servers <> '{}' ORDER BY rowid DESC")]


def list_runs(store: Store) -> list[RunLine]:
    """Every run, newest first. A row that says running is shown as stopped if no live process works on the run."""
    at_work = {worker.run_id for worker in workers_of(store)}

    def line(row: dict[str, Any]) -> RunLine:
        status = row["status"]
        if status == "running" and row["id"] not in at_work:
            status = "stopped"
        elif status == "done" and row["failed"] and not row["done"]:
            status = "failed"
        return RunLine(**row | {"status": status})

    return [line(row) for row in store.read(LIST)]


LIST = """
    WITH s AS (
        SELECT run_id, count(*) total, sum(status = 'done') done, sum(status = 'failed') failed,
            sum(status = 'pending') pending, sum(status = 'running') running,
            min(1.0, max(0.0, avg(score) FILTER (WHERE status = 'done'))) score
        FROM samples GROUP BY run_id),
    c AS (
        SELECT run_id, sum(calls) calls, sum(tokens_in) tokens_in, sum(tokens_out) tokens_out,
            sum(tokens_cached) tokens_cached
        FROM usage GROUP BY run_id)
    SELECT id, name, kind, runs.status, created_at, finished_at, parent, node, coalesce(total, 0) total,
        coalesce(done, 0) done, coalesce(failed, 0) failed, coalesce(pending, 0) pending, coalesce(running, 0) running,
        coalesce(calls, 0) calls, coalesce(tokens_in, 0) tokens_in, coalesce(tokens_out, 0) tokens_out,
        coalesce(tokens_cached, 0) tokens_cached, simulated, score
    FROM runs LEFT JOIN s ON s.run_id = runs.id LEFT JOIN c ON c.run_id = runs.id
    ORDER BY runs.rowid DESC"""


def simulated_roles(store: Store, runs: Sequence[str]) -> set[str]:
    """The roles of these runs with calls that the simulated endpoint answered."""
    return {row["role"] for row in store.read(SIMULATED_ROLES, (json.dumps(runs),))}


SIMULATED_ROLES = """
    SELECT DISTINCT role FROM calls JOIN samples ON samples.id = sample_id
    WHERE calls.simulated AND run_id IN (SELECT value FROM json_each(?))"""


def _run(row: Mapping[str, Any] | Row) -> Run:
    return Run(**dict(row) | {name: json.loads(row[name]) for name in JSON})
