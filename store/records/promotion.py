"""Promotion: copies a run's finished samples, with chosen forks in place of their originals, into a new run."""

import json
from collections.abc import Iterable
from sqlite3 import Connection

from ...core.errors import InputError
from ...core.hashing import digest
from ...core.types import Value
from ..file.database import Store, now
from .runs import Run, find_run, free_id, insert_run
from .samples import find_sample, row_id


class Promoted(Value):
    """The new run, its number of samples, and original → the fork that replaced it."""

    run_id: str
    parent: str
    samples: int
    replaced: dict[str, str]


def promote(store: Store, names: Iterable[str]) -> Promoted:
    """Copy the run that the forks were made from, with the forks in place of their originals.

    A name is a fork, or a run, which stands for all its finished forks. Texts are shared and calls are not copied.
    Raises InputError if a name is not a fork, if the forks come from several runs, or if two come from one original.
    """
    forks = [fork for name in names for fork in _named(store, name)]
    if not forks:
        raise InputError("no finished fork was given", where=str(store.path), todo="make forks with `muser replay`")
    replaced: dict[str, str] = {}
    for fork in forks:
        original = _original(store, fork)
        if replaced.setdefault(original, fork) != fork:
            raise InputError(
                f"{fork} and {replaced[original]} are forks of the same sample", where=original, todo="give only one"
            )
    roots = {original.rpartition("/")[0] for original in replaced}
    if len(roots) > 1:
        raise InputError(f"these are forks of several runs: {', '.join(sorted(roots))}", todo="promote one run's forks")
    parent = find_run(store, roots.pop())
    if parent is None:
        raise InputError("the run that these are forks of no longer exists", where=forks[0])

    def change(db: Connection) -> tuple[str, int]:
        run = insert_run(db, _describe(db, parent, replaced))
        return run.id, _copy(db, parent.id, run.id, replaced)

    made, copied = store.write_now(change)
    return Promoted(run_id=made, parent=parent.id, samples=copied, replaced=replaced)


def _named(store: Store, name: str) -> list[str]:
    if find_run(store, name) is None:
        return [find_sample(store, name)]
    rows = store.read("SELECT key FROM samples WHERE run_id = ? AND status = 'done' ORDER BY id", (name,))
    return [f"{name}/{row['key']}" for row in rows]


def _original(store: Store, fork: str) -> str:
    """The sample that a fork was made from; if that is a fork too, its original."""
    run_id, _, key = fork.rpartition("/")
    row = store.read("SELECT status, origin, forked_from FROM samples WHERE run_id = ? AND key = ?", (run_id, key))[0]
    if row["forked_from"] is None:
        raise InputError("it is not a fork", where=fork, todo="give forks that `muser replay` made, or a run of them")
    if row["status"] != "done":
        raise InputError(f"it is {row['status']}", where=fork, todo="wait until it is done")
    origin = str(row["origin"])
    run_id, _, key = origin.rpartition("/")
    above = store.read("SELECT forked_from FROM samples WHERE run_id = ? AND key = ?", (run_id, key))
    return _original(store, origin) if above and above[0]["forked_from"] else origin


def _describe(db: Connection, parent: Run, replaced: dict[str, str]) -> Run:
    identity = parent.identity | {"promoted": {original: replaced[original] for original in sorted(replaced)}}
    runs = sorted({fork.rpartition("/")[0] for fork in replaced.values()})
    name = f"{parent.name}-promoted"
    made = {
        "id": free_id(db, name),
        "name": name,
        "identity": identity,
        "fingerprint": digest(identity),
        "parent": parent.id,
        "node": None,
        "servers": {},
        "changes": (f"{len(replaced):,} samples are forks of {', '.join(runs)}",),
        "status": "done",
        "finished_at": now(),
    }
    return parent.model_copy(update=made)


def _copy(db: Connection, parent: str, run: str, replaced: dict[str, str]) -> int:
    rows = [[row_id(db, original), row_id(db, fork)] for original, fork in replaced.items()]
    given = {"parent": parent, "run": run, "rows": json.dumps(rows)}
    copied = int(db.execute(COPY_SAMPLES, given).rowcount)
    db.execute(COPY_CRITIQUES, given)
    return copied


# MATERIALIZED: without it SQLite may parse the JSON again for each sample (sqlite.org/lang_with.html).
TAKEN = """
    WITH replaced (own, fork) AS MATERIALIZED (SELECT value ->> 0, value ->> 1 FROM json_each(:rows)),
    place (own, key, taken) AS (
        SELECT id, key, coalesce(fork, id) FROM samples LEFT JOIN replaced ON replaced.own = id
        WHERE run_id = :parent)"""

KEPT = """seed, status, persona, history, extra, query_id, reasoning_id, answer_id,
    refined_reasoning, refined_answer_id, score, rounds, checkpoint_id, started_at, finished_at, seconds,
    simulated"""

# A copy has its original's key; its origin names the sample whose values it has.
COPY_SAMPLES = f"""
    INSERT INTO samples (run_id, key, origin, {KEPT})
    {TAKEN} SELECT :run, place.key, run_id || '/' || samples.key, {KEPT}
    FROM place JOIN samples ON samples.id = taken WHERE status = 'done' ORDER BY place.own"""  # noqa: S608

COPY_CRITIQUES = f"""
    INSERT INTO critiques
    {TAKEN} SELECT made.id, round, critic, position, verdict, rationale_id
    FROM place JOIN samples made ON made.run_id = :run AND made.key = place.key
    JOIN critiques ON sample_id = taken"""  # noqa: S608
