"""Samples: claimed, recorded and read back as traces."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from sqlite3 import Connection
from typing import Any

from pydantic import Field, JsonValue, TypeAdapter, ValidationError

from ...core.errors import DamagedDatabase, InputError, ReplyError
from ...core.hashing import derive_seed
from ...core.types import (
    Critique,
    Grade,
    Message,
    Persona,
    Refinement,
    Response,
    RubricItem,
    SampleInput,
    SampleStatus,
    Value,
)
from ..file.database import Store, now
from ..file.texts import (
    CHECK,
    build_messages,
    build_rope,
    cut,
    get_texts,
    put_texts,
    readable,
    rope_ids,
    tie,
    tie_messages,
    worth_sharing,
)
from .history import drop_history, drop_threads
from .rubrics import add_rubric, get_rubric

DRAWN, TOPPED_UP = "s[0-9][0-9][0-9][0-9][0-9][0-9]*", "t[0-9][0-9][0-9][0-9][0-9][0-9]*"
"""Keys (GLOB patterns) of samples with a simulated persona: drawn from tables, or chosen to fill what is short."""
STATUSES: tuple[SampleStatus, ...] = ("pending", "running", "done", "failed", "rejected")
CHUNK = 1000
"""Samples added in one transaction."""


class Rejection(Value):
    """A draw that a screen refused, and the text that it looked at."""

    draw: int
    """the number of the draw, from 1"""
    stage: str
    """query or refinement"""
    screen: str
    """the screen that refused it"""
    reason: str
    """why, in words"""
    persona: Persona | None
    """the persona that was drawn"""
    text: str
    """the query, or the refined answer"""


class Trace(Value):
    """A sample with everything made from it. Its calls are `ledger.calls_of(store, id)`.

    `history` has the turns before the query, `extra` the other fields of its line in a query file, `rubric` what a
    judge decides: the grade of item n is about rubric[n]. `tokens` counts all its calls, reused ones included.
    `draw` counts the personas that were drawn for it, `rejections` are those that a screen refused;
    `overtaken` names the lower sample that drew the same query later. `worker` is the process running it. At
    `pruned_at` its checkpoints were dropped, so it cannot be forked any more. A fork starts from the checkpoint
    `forked_from` of its `origin`. `simulated`: the simulated endpoint answered at least one of its calls.
    """

    id: str
    run_id: str
    key: str
    seed: int
    status: SampleStatus
    origin: str | None = None
    persona: Persona | None = None
    history: tuple[Message, ...] = ()
    query: str | None = None
    response: Response | None = None
    extra: dict[str, JsonValue] = Field(default_factory=dict)
    rubric: tuple[RubricItem, ...] = ()
    critiques: tuple[Critique, ...] = ()
    refinement: Refinement | None = None
    grades: tuple[Grade, ...] = ()
    score: float | None = None
    rounds: int = 0
    tries: int = 0
    tokens: int = 0
    rejections: tuple[Rejection, ...] = ()
    """its rejected draws, the first first"""
    draw: int = 1
    """the number of its present draw"""
    overtaken: str | None = None
    """why its draw is a duplicate of a lower sample's, until it is drawn again"""
    simulated: bool = False
    cause_kind: str | None = None
    cause: str | None = None
    failed_node: str | None = None
    checkpoint_id: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    seconds: float | None = None
    worker: str | None = None
    pruned_at: str | None = None
    forked_from: str | None = None

    def item_of(self, grade: Grade) -> RubricItem | None:
        """The rubric item that was graded; None in a store whose evaluations did not keep their rubrics."""
        return self.rubric[grade.item] if grade.item < len(self.rubric) else None


@dataclass(frozen=True)
class Failure:
    """Samples that failed with the same cause at the same node: how many, and one example with its message."""

    cause_kind: str
    node: str
    samples: int
    example: str
    message: str


def add_samples(store: Store, run_id: str, inputs: Iterable[SampleInput], run_seed: int) -> int:
    """Add the samples whose keys the run lacks; returns how many were added.

    In chunks, so that memory does not grow with the inputs and other processes can write in between.
    """
    added, rest = 0, iter(inputs)
    while chunk := list(islice(rest, CHUNK)):
        added += store.write_now(partial(_add_chunk, run_id=run_id, chunk=chunk, run_seed=run_seed))
    return added


def count_simulated(store: Store, run_id: str) -> int:
    """How many samples of the run were drawn from attribute tables, by their keys s000001 and on."""
    sql = "SELECT count(*) AS n FROM samples WHERE run_id = ? AND key GLOB ?"
    return int(store.read(sql, (run_id, DRAWN))[0]["n"])


async def take_pending(store: Store, run_id: str, limit: int, worker: str | None = None) -> list[Trace]:
    """Claim up to `limit` pending samples, in order: they become running, and no other worker gets them."""
    return await store.write(lambda db: _take(db, run_id, limit, worker))


async def record_sample(
    store: Store,
    sample_id: str,
    *,
    status: SampleStatus,
    state: Mapping[str, Any],
    checkpoint_id: str | None = None,
    cause: BaseException | None = None,
    failed_node: str | None = None,
    without_history: bool = False,
) -> bool:
    """Replace a sample's row with what its state holds. Idempotent.

    Pass `done` only after the final checkpoint is durable: after a kill, a running row with a final checkpoint is
    repaired, but a done row without one is not. `without_history` drops the checkpoints in the same commit. False: a
    sample that would be done was overtaken meanwhile (rejections.py), and nothing was written.
    """
    end = {
        "status": status,
        "checkpoint_id": checkpoint_id,
        "cause_kind": _kind(cause),
        "cause": None if cause is None else readable(str(cause) or repr(cause)),
        "failed_node": failed_node,
        "finished_at": now() if status in {"done", "failed", "rejected"} else None,
    }

    def change(db: Connection) -> bool:
        sample = row_id(db, sample_id)
        if status == "done" and db.execute(OVERTAKEN, (sample,)).fetchone()[0] is not None:
            return False
        _record(db, sample, state, end)
        if without_history:
            drop_history(db, [sample])
        return True

    return await store.write(change)


OVERTAKEN = "SELECT overtaken FROM samples WHERE id = ?"


def retry_samples(store: Store, run_id: str) -> int:
    """Make the run's failed samples pending again, and the done ones that have rubric items without a verdict.

    They repeat only the requests that had no usable reply; the unusable calls stay in the usage totals. Verdicts that a
    judge gave are kept, and only the items without one are graded again.
    """

    def change(db: Connection) -> int:
        db.execute(SUPERSEDE, (run_id,))
        db.execute(SUPERSEDE_JUDGES, (run_id,))
        drop_threads(db, [row[0] for row in db.execute(UNJUDGED, (run_id,))])
        return int(db.execute(RETRY, (run_id,)).rowcount)

    return store.write_now(change)


RETRY = """
    UPDATE samples SET status = 'pending', cause_kind = NULL, cause = NULL, failed_node = NULL, finished_at = NULL,
        tries = tries + 1 WHERE run_id = ? AND (status = 'failed' OR (status = 'done' AND EXISTS (
            SELECT 1 FROM grades WHERE sample_id = samples.id AND met IS NULL)))"""

UNJUDGED = """
    SELECT id FROM samples WHERE run_id = ? AND status = 'done'
    AND EXISTS (SELECT 1 FROM grades WHERE sample_id = samples.id AND met IS NULL)"""

SUPERSEDE_JUDGES = f"""
    UPDATE calls SET superseded = 1 + (SELECT tries FROM samples WHERE samples.id = sample_id)
    WHERE role = 'judge' AND outcome NOT IN ('ok', 'prose') AND superseded = 0
    AND sample_id IN ({UNJUDGED})"""  # noqa: S608 - of constants

NEXT_TRY = """
    1 + max((SELECT tries FROM samples WHERE samples.id = calls.sample_id), (
        SELECT max(same.superseded) FROM calls same WHERE same.sample_id = calls.sample_id
            AND same.role = calls.role AND same.round = calls.round AND same.attempt = calls.attempt
            AND same.request_hash = calls.request_hash))"""
"""The number of a superseded row; it is unique among the rows of the same place and request."""

SUPERSEDE = f"""
    UPDATE calls SET superseded = {NEXT_TRY}
    WHERE outcome NOT IN ('ok', 'prose') AND superseded = 0
    AND sample_id IN (SELECT id FROM samples WHERE run_id = ? AND status = 'failed')
    AND NOT EXISTS (SELECT 1 FROM calls good WHERE good.sample_id = calls.sample_id AND good.role = calls.role
        AND good.round = calls.round AND good.outcome IN ('ok', 'prose') AND good.superseded = 0)"""  # noqa: S608


def counts(store: Store, run_id: str) -> dict[SampleStatus, int]:
    """How many samples of the run have each status; every status is a key."""
    rows = store.read("SELECT status, count(*) AS n FROM samples WHERE run_id = ? GROUP BY status", (run_id,))
    found: dict[SampleStatus, int] = {row["status"]: row["n"] for row in rows}
    return {status: found.get(status, 0) for status in STATUSES}


def count_items(store: Store, run_id: str) -> tuple[int, int]:
    """How many rubric items the run's finished samples have, and how many of them have no verdict."""
    sql = """
        SELECT count(*) AS items, count(*) - count(met) AS unjudged FROM samples JOIN grades ON sample_id = samples.id
        WHERE run_id = ? AND status = 'done'"""
    row = store.read(sql, (run_id,))[0]
    return row["items"], row["unjudged"]


def done_keys(store: Store, run_id: str) -> set[str]:
    """The keys of the run's finished samples."""
    return {row["key"] for row in store.read("SELECT key FROM samples WHERE run_id = ? AND status = 'done'", (run_id,))}


def failures(store: Store, run_id: str) -> list[Failure]:
    """The run's failures by cause and node, the most frequent first."""
    # With min(id), the columns that are not grouped come from that row (sqlite.org/lang_select.html#bareagg).
    rows = store.read(
        """
        SELECT coalesce(cause_kind, '') cause_kind, coalesce(failed_node, '') node, count(*) AS n, min(id) AS id,
            run_id || '/' || key AS example, coalesce(cause, '') message
        FROM samples WHERE run_id = ? AND status = 'failed' GROUP BY 1, 2 ORDER BY n DESC, 1, 2""",
        (run_id,),
    )
    return [Failure(row["cause_kind"], row["node"], row["n"], row["example"], row["message"]) for row in rows]


def find_sample(store: Store, text: str) -> str:
    """The id for `RUN/KEY`, or for a KEY that only one run has. Raises InputError if none or several match."""
    run_id, _, key = text.rpartition("/")
    rows = store.read(FIND, {"run_id": run_id, "key": key})
    if len(rows) == 1:
        return str(rows[0]["id"])
    if rows:
        found = ", ".join(row["id"] for row in rows[:5]) + (", …" if len(rows) > 5 else "")
        raise InputError(f"Several runs have a sample {text!r}.", where=str(store.path), todo=f"name one: {found}")
    raise InputError(f"There is no sample {text!r}.", where=str(store.path), todo="`muser runs` lists the runs")


FIND = """
    SELECT run_id || '/' || key AS id FROM samples WHERE key = :key AND (:run_id = '' OR run_id = :run_id)
    ORDER BY samples.id DESC LIMIT 6"""


def get_trace(store: Store, sample_id: str) -> Trace:
    """The sample in its current state. Raises InputError if there is none."""
    with store.reader() as db:
        return _trace(db, row_id(db, sample_id))


def row_id(db: Connection, sample_id: str) -> int:
    """The integer key of a sample's row. Raises InputError if there is none."""
    # Keys are percent-encoded (graph/inputs.py), so the last slash ends the run's id.
    run_id, _, key = sample_id.rpartition("/")
    found = db.execute("SELECT id FROM samples WHERE run_id = ? AND key = ?", (run_id, key)).fetchone()
    if found is None:
        raise InputError(f"There is no sample {sample_id!r}.")
    return int(found[0])


def _add_chunk(db: Connection, run_id: str, chunk: list[SampleInput], run_seed: int) -> int:
    return sum(add_in(db, run_id, one, run_seed) for one in chunk)


def add_in(db: Connection, run_id: str, one: SampleInput, run_seed: int) -> int:
    """Add a sample inside a change, unless the run has its key; returns how many were added."""
    row = {"run_id": run_id, "key": one.key, "seed": derive_seed(run_seed, one.key), "origin": one.origin}
    row |= {"persona": dump_persona(one.persona), **_texts(db, one.query, one.response), **_brought(db, one)}
    added = int(db.execute(ADD, row).rowcount)
    if added and one.rubric:
        add_rubric(db, row_id(db, f"{run_id}/{one.key}"), one.rubric)
    return added


ADD = """
    INSERT INTO samples (run_id, key, seed, origin, persona, query_id, reasoning_id, answer_id, history, extra)
    VALUES (:run_id, :key, :seed, :origin, :persona, :query_id, :reasoning_id, :answer_id, :history, :extra)
    ON CONFLICT (run_id, key) DO NOTHING"""


def _take(db: Connection, run_id: str, limit: int, worker: str | None) -> list[Trace]:
    # One UPDATE both chooses and marks, so two processes cannot claim the same sample. RETURNING has no fixed order
    # (sqlite.org/lang_returning.html), hence sorted.
    taken = db.execute(TAKE, {"now": now(), "run_id": run_id, "limit": limit, "worker": worker}).fetchall()
    return [_trace(db, sample) for sample in sorted(row[0] for row in taken)]


TAKE = """
    UPDATE samples SET status = 'running', worker = :worker, started_at = :now, finished_at = NULL, seconds = NULL
    WHERE id IN (
        SELECT id FROM samples WHERE run_id = :run_id AND status = 'pending' ORDER BY id LIMIT :limit)
    RETURNING id"""


def record_state(db: Connection, sample: int, state: Mapping[str, Any]) -> None:
    """Write the state that a pending sample starts from."""
    _record(db, sample, state, {"status": "pending"} | dict.fromkeys(UNENDED))


UNENDED = ("checkpoint_id", "cause_kind", "cause", "failed_node", "finished_at")


def _record(db: Connection, sample: int, state: Mapping[str, Any], end: dict[str, Any]) -> None:
    persona, response, refinement = (state.get(name) for name in ("persona", "response", "refinement"))
    row = {"id": sample, "score": state.get("score"), "rounds": state.get("round") or 0} | end
    row["persona"] = dump_persona(persona)
    row |= _texts(db, state.get("query"), Response.model_validate(response) if response else None)
    critiques = [Critique.model_validate(value) for value in state.get("critiques") or ()]
    grades = [Grade.model_validate(value) for value in state.get("grades") or ()]
    refined = Refinement.model_validate(refinement) if refinement else None
    # The refined reasoning is composed of the response's reasoning and the rationales, which are stored already.
    parts = [response["reasoning"] if response else "", *(c.rationale for c in critiques)]
    composed = cut(refined.reasoning, worth_sharing(part.strip() for part in parts)) if refined else []
    said = [c.rationale for c in critiques] + [g.explanation for g in grades]
    ids = put_texts(db, [*composed, *said, *([refined.answer] if refined else [])])
    row["refined_reasoning"] = tie(composed, ids) if refined else None
    row["refined_answer_id"] = ids[refined.answer] if refined else None
    db.execute(RECORD, row)
    db.execute("DELETE FROM critiques WHERE sample_id = ?", (sample,))
    for position, c in enumerate(critiques):
        judged = (sample, c.round, c.critic, position, c.verdict, ids[c.rationale])
        db.execute("INSERT INTO critiques VALUES (?, ?, ?, ?, ?, ?)", judged)
    db.execute("DELETE FROM grades WHERE sample_id = ?", (sample,))
    for g in grades:
        graded = (sample, g.item, g.points, g.met, ids[g.explanation])
        db.execute("INSERT INTO grades VALUES (?, ?, ?, ?, ?)", graded)


RECORD = """
    UPDATE samples SET status = :status, persona = :persona, query_id = :query_id,
        reasoning_id = :reasoning_id, answer_id = :answer_id, refined_reasoning = :refined_reasoning,
        refined_answer_id = :refined_answer_id, score = :score, rounds = :rounds, checkpoint_id = :checkpoint_id,
        cause_kind = :cause_kind, cause = :cause, failed_node = :failed_node, finished_at = :finished_at, worker = NULL,
        seconds = round((julianday(:finished_at) - julianday(started_at)) * 86400, 3)
    WHERE id = :id"""


def _kind(cause: BaseException | None) -> str | None:
    """The failure's class name; for an unusable reply also its outcome, so that failures can be grouped by it."""
    if cause is None:
        return None
    return f"ReplyError.{cause.outcome}" if isinstance(cause, ReplyError) else type(cause).__name__


def dump_persona(persona: Persona | None) -> str | None:
    """The persona as JSON; an empty one is none."""
    if not persona:
        return None
    return json.dumps({name: readable(value) for name, value in persona.items()}, ensure_ascii=False)


def load_persona(stored: str | None) -> Persona | None:
    """The persona that a row has. Raises DamagedDatabase if it was altered."""
    try:
        return PERSONA.validate_json(stored) if stored else None
    except ValidationError as error:
        raise DamagedDatabase("The persona of a sample cannot be read.", todo=CHECK) from error


PERSONA = TypeAdapter(Persona)


def _texts(db: Connection, query: str | None, response: Response | None) -> dict[str, int | None]:
    said = [] if query is None else [query]
    ids = put_texts(db, [*said, response.reasoning, response.answer] if response else said)
    return {
        "query_id": None if query is None else ids[query],
        "reasoning_id": ids[response.reasoning] if response else None,
        "answer_id": ids[response.answer] if response else None,
    }


def _brought(db: Connection, one: SampleInput) -> dict[str, str | None]:
    """What a sample keeps from its query file besides the query; it never changes."""
    ids = put_texts(db, [turn.content for turn in one.history])
    turns = [(turn.role, [turn.content]) for turn in one.history]
    return {
        "history": tie_messages(turns, ids) if turns else None,
        "extra": json.dumps(one.extra, ensure_ascii=True) if one.extra else None,
    }


def _rejections(db: Connection, sample: int) -> tuple[Rejection, ...]:
    rows = _rows(db, REJECTIONS, sample)
    texts = get_texts(db, [row["text_id"] for row in rows])
    return tuple(
        Rejection(
            persona=json.loads(persona) if (persona := row.pop("persona")) else None,
            text=texts[row.pop("text_id")],
            **row,
        )
        for row in rows
    )


REJECTIONS = "SELECT draw, stage, screen, reason, persona, text_id FROM rejections WHERE sample_id = ? ORDER BY draw"


def _rows(db: Connection, sql: str, *parameters: Any) -> list[dict[str, Any]]:
    cursor = db.execute(sql, parameters)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _trace(db: Connection, sample: int) -> Trace:
    row = _rows(db, "SELECT * FROM samples WHERE id = ?", sample)[0]
    critiques = _rows(db, "SELECT * FROM critiques WHERE sample_id = ? ORDER BY round, position", sample)
    grades = _rows(db, "SELECT * FROM grades WHERE sample_id = ? ORDER BY item", sample)
    ids = [row.pop(name) for name in ("query_id", "reasoning_id", "answer_id", "refined_answer_id")]
    names = ("refined_reasoning", "history", "extra", "persona")
    rope, turns, extra, persona = (row.pop(name) for name in names)
    said = [c["rationale_id"] for c in critiques] + [g["explanation_id"] for g in grades]
    texts = get_texts(db, [*ids, *rope_ids(rope), *rope_ids(turns), *said])
    query, reasoning, answer, refined = (None if i is None else texts[i] for i in ids)
    return Trace(
        **row | {"id": f"{row['run_id']}/{row['key']}"},
        persona=load_persona(persona),
        history=build_messages(turns or "[]", texts),
        query=query,
        extra=json.loads(extra or "{}"),
        response=None if answer is None else Response(reasoning=reasoning or "", answer=answer),
        refinement=None if refined is None else Refinement(reasoning=build_rope(rope, texts), answer=refined),
        rubric=get_rubric(db, sample),
        rejections=_rejections(db, sample) if row["draw"] > 1 or row["status"] == "rejected" else (),
        critiques=tuple(
            Critique(critic=c["critic"], verdict=c["verdict"], rationale=texts[c["rationale_id"]], round=c["round"])
            for c in critiques
        ),
        grades=tuple(
            Grade(
                item=g["item"],
                points=g["points"],
                met=None if g["met"] is None else bool(g["met"]),
                explanation=texts[g["explanation_id"]],
            )
            for g in grades
        ),
    )
