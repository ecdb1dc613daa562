"""The call ledger: a call is finished when its row is committed, and it is never repeated."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from sqlite3 import Connection
from typing import Any

from pydantic import JsonValue

from ...core.hashing import digest
from ...core.types import Message, Outcome, Reply, Usage, Value
from ..file.database import Store, now
from ..file.texts import (
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
from .samples import NEXT_TRY, row_id


class Call(Value):
    """One request to a model and what came back. `role` is persona, responder, critics.NAME, refiner or judge.

    `model` is the recipe's name for the model; the reply has the endpoint's name. The store sets `id`, `superseded` and
    `created_at`. A `superseded` above 0 is the try of the sample that repeated the request.
    """

    id: int | None = None
    sample_id: str
    role: str
    round: int = 1
    attempt: int = 1
    request_hash: str
    model: str
    messages: tuple[Message, ...]
    parameters: dict[str, JsonValue]
    reply: Reply
    outcome: Outcome
    reused_from: int | None = None
    superseded: int = 0
    created_at: str = ""


class RoleUsage(Value):
    """What a role cost in a run. All fields but `reused` count only requests sent, unusable replies included."""

    role: str
    calls: int
    reused: int
    repairs: int
    outcomes: dict[Outcome, int]
    tokens_in: int
    tokens_out: int
    tokens_cached: int
    seconds: float

    @property
    def cached_share(self) -> float:
        """The share of prompt tokens that were in the endpoint's prefix cache, from 0 to 1."""
        return self.tokens_cached / self.tokens_in if self.tokens_in else 0.0


def request_hash(messages: Sequence[Message], parameters: dict[str, JsonValue], model_identity: JsonValue) -> str:
    """Equal for identical requests: the SHA-256, in hex, of messages, parameters and the model's identity."""
    return digest([[[m.role, digest(m.content)] for m in messages], parameters, model_identity])


async def find_call(
    store: Store,
    sample_id: str,
    role: str,
    round: int,
    attempt: int,
    request_hash: str,
    *,
    others: bool = True,
) -> Reply | None:
    """The stored reply to this request: this sample's own, else a usable one for the same key in another run.

    The second case requires `others`; the reply is then recorded in this sample too, as reused. None: send the request.
    """
    place = {"role": role, "round": round, "attempt": attempt, "hash": bytes.fromhex(request_hash)}
    with store.reader() as db:
        sample = row_id(db, sample_id)
        found = db.execute(FIND if others else OWN, place | {"sample": sample}).fetchone()
        other = found if found and found["sample_id"] != sample else None
        reply = (
            None
            if found is None
            else _reply(dict(found), get_texts(db, (*rope_ids(found["reply"]), found["reasoning_id"])))
        )
    if other is not None:
        # Outside the reader: the write waits for a commit, and an open reader keeps the log from being reset.
        source = other["id"]
        await store.write(lambda db: db.execute(REUSE, (sample, now(), source)).rowcount)
    return reply


async def was_unusable(store: Store, sample_id: str, role: str, round: int, attempt: int, request_hash: str) -> bool:
    """Whether this request of the sample got an unusable reply, in this try or an earlier one."""
    with store.reader() as db:
        place = (row_id(db, sample_id), role, round, attempt, bytes.fromhex(request_hash))
        return db.execute(UNUSABLE, place).fetchone() is not None


UNUSABLE = """
    SELECT 1 FROM calls WHERE sample_id = ? AND role = ? AND round = ? AND attempt = ? AND request_hash = ?
    AND outcome NOT IN ('ok', 'prose') LIMIT 1"""

OWN = """
    SELECT * FROM calls WHERE superseded = 0
    AND sample_id = :sample AND role = :role AND round = :round AND attempt = :attempt AND request_hash = :hash"""

OTHER = """
    SELECT calls.* FROM samples mine
    JOIN calls ON calls.request_hash = :hash AND calls.role = :role AND calls.round = :round
        AND calls.attempt = :attempt AND calls.reused_from IS NULL AND calls.superseded = 0
    JOIN samples theirs ON theirs.id = calls.sample_id AND theirs.key = mine.key
    WHERE mine.id = :sample AND calls.outcome IN ('ok', 'prose')
    ORDER BY calls.id LIMIT 1"""

# If OWN has a row, LIMIT ends the statement before SQLite evaluates OTHER, which joins two more tables.
FIND = f"SELECT * FROM ({OWN}) UNION ALL SELECT * FROM ({OTHER}) LIMIT 1"  # noqa: S608 - of constants

REUSE = """
    INSERT INTO calls (sample_id, reused_from, created_at, role, round, attempt, request_hash, model, messages,
        parameters_id, seed, reply, reasoning_id, outcome, finish_reason, served, tokens_in, tokens_out,
        tokens_cached, seconds, simulated)
    SELECT ?, id, ?, role, round, attempt, request_hash, model, messages, parameters_id, seed, reply, reasoning_id,
        outcome, finish_reason, served, tokens_in, tokens_out, tokens_cached, seconds, simulated FROM calls WHERE id = ?
    ON CONFLICT DO NOTHING"""


async def record_call(store: Store, call: Call, *, again: bool = False) -> int:
    """Commit a call; returns its row's id. The first row for a place and request is kept, and a second is ignored.

    `again`: the request was repeated although it had a row, and the new row supersedes that one.
    """
    return await store.write(lambda db: _record(db, call, again=again))


def calls_of(store: Store, sample_id: str) -> list[Call]:
    """A sample's calls in the order of recording, superseded ones included."""
    with store.reader() as db:
        rows = [dict(row) for row in db.execute(ALL, (row_id(db, sample_id),))]
        ids = [row[name] for row in rows for name in ("parameters_id", "reasoning_id")]
        ropes = [row[name] for row in rows for name in ("messages", "reply")]
        texts = get_texts(db, [*ids, *(i for rope in ropes for i in rope_ids(rope))])
    return [_call(sample_id, row, texts) for row in rows]


ALL = "SELECT * FROM calls WHERE sample_id = ? ORDER BY id"


def usage_by_role(store: Store, run_id: str) -> list[RoleUsage]:
    """The run's usage by role, in the order in which the roles were first called."""
    lines: dict[str, dict[str, Any]] = {}
    sums = ("calls", "reused", "repairs", "tokens_in", "tokens_out", "tokens_cached", "seconds")
    for row in store.read(USAGE, (run_id,)):
        line = lines.setdefault(row["role"], {"role": row["role"], "outcomes": {}} | dict.fromkeys(sums, 0))
        for name in sums:
            line[name] += row[name]
        if row["outcome"] != "ok" and row["calls"]:
            line["outcomes"][row["outcome"]] = row["calls"]
    return [RoleUsage(**line) for line in lines.values()]


def reused_from(store: Store, run_id: str) -> dict[str, int]:
    """Run → how many calls this run reused from it, most first."""
    return {row["run_id"]: row["n"] for row in store.read(REUSED, (run_id,))}


REUSED = """
    SELECT theirs.run_id, count(*) AS n FROM samples mine
    JOIN calls ON calls.sample_id = mine.id AND calls.reused_from IS NOT NULL
    JOIN calls source ON source.id = calls.reused_from JOIN samples theirs ON theirs.id = source.sample_id
    WHERE mine.run_id = ? GROUP BY theirs.run_id ORDER BY n DESC, theirs.run_id"""

USAGE = "SELECT * FROM usage WHERE run_id = ? ORDER BY rowid"


def tokens_spent(store: Store, run_id: str) -> int:
    """Prompt and completion tokens that the run has used so far, in all its processes."""
    sql = "SELECT coalesce(sum(tokens_in + tokens_out), 0) AS n FROM usage WHERE run_id = ?"
    return int(store.read(sql, (run_id,))[0]["n"])


def _record(db: Connection, call: Call, *, again: bool) -> int:
    sample = row_id(db, call.sample_id)
    place = {"role": call.role, "round": call.round, "attempt": call.attempt, "hash": bytes.fromhex(call.request_hash)}
    if found := db.execute(OWN, place | {"sample": sample}).fetchone():
        if not again:
            return int(found[0])
        db.execute(f"UPDATE calls SET superseded = {NEXT_TRY} WHERE id = ?", (found[0],))  # noqa: S608
    # Each call has another seed. In a column of its own it leaves parameters that most calls share as one text.
    seed = call.parameters.get("seed")
    apart = type(seed) is int
    parameters = {k: v for k, v in call.parameters.items() if not (apart and k == "seed")}
    reply, usage = call.reply, call.reply.usage
    known = worth_sharing(_quotable(db, sample))
    messages = [(message.role, cut(message.content, known)) for message in call.messages]
    said = cut(reply.text, worth_sharing(_strings(reply.text)))
    asked = json.dumps(parameters, ensure_ascii=False, sort_keys=True)
    thought = [reply.reasoning] if reply.reasoning else []
    ids = put_texts(db, [*(piece for _, pieces in messages for piece in pieces), *said, asked, *thought])
    row = {
        "sample_id": sample,
        "role": call.role,
        "round": call.round,
        "attempt": call.attempt,
        "request_hash": place["hash"],
        "model": call.model,
        "messages": tie_messages(messages, ids),
        "parameters_id": ids[asked],
        "seed": seed if apart else None,
        "reply": tie(said, ids),
        "reasoning_id": ids[reply.reasoning] if reply.reasoning else None,
        "outcome": call.outcome,
        "finish_reason": readable(reply.finish_reason),
        "served": readable(reply.model),
        "tokens_in": usage.tokens_in,
        "tokens_out": usage.tokens_out,
        "tokens_cached": usage.tokens_cached,
        "seconds": reply.seconds,
        "simulated": reply.simulated,
        "reused_from": call.reused_from,
        "created_at": now(),
    }
    return int(db.execute(RECORD, row).fetchone()[0])


RECORD = """
    INSERT INTO calls (sample_id, role, round, attempt, request_hash, model, messages, parameters_id, seed, reply,
        reasoning_id, outcome, finish_reason, served, tokens_in, tokens_out, tokens_cached, seconds, simulated,
        reused_from, created_at)
    VALUES (:sample_id, :role, :round, :attempt, :request_hash, :model, :messages, :parameters_id, :seed, :reply,
        :reasoning_id, :outcome, :finish_reason, :served, :tokens_in, :tokens_out, :tokens_cached, :seconds,
        :simulated, :reused_from, :created_at)
    RETURNING id"""


def _quotable(db: Connection, sample: int) -> Iterator[str]:
    """Texts of this sample that its messages are likely to quote.

    Critics and the refiner get the query and the answer, judges the conversation. Stored as references, a prompt of
    several thousand characters takes a few bytes per call.
    """
    *started, history = db.execute(STARTED, (sample,)).fetchone()
    started += rope_ids(history)
    calls = db.execute(QUOTABLE, (sample,)).fetchall()
    ropes = [rope_ids(call["reply"]) for call in calls]
    texts = get_texts(db, [*started, *(call["reasoning_id"] for call in calls), *(i for rope in ropes for i in rope)])
    yield from (texts[i].strip() for i in (*started, *(call["reasoning_id"] for call in calls)) if i is not None)
    for rope in ropes:
        reply = "".join(texts[i] for i in rope)
        yield reply.strip()
        yield from _strings(reply)


STARTED = "SELECT query_id, reasoning_id, answer_id, history FROM samples WHERE id = ?"

QUOTABLE = "SELECT reply, reasoning_id FROM calls WHERE sample_id = ? AND outcome = 'ok' AND role <> 'judge'"


def _strings(reply: str) -> list[str]:
    """The strings in a reply that is a JSON object: later prompts quote these, not the JSON."""
    if reply.lstrip().startswith("{"):
        with suppress(ValueError, RecursionError):
            return [value.strip() for value in json.loads(reply).values() if isinstance(value, str)]
    return []


def _reply(row: dict[str, Any], texts: dict[int, str]) -> Reply:
    usage = Usage(tokens_in=row["tokens_in"], tokens_out=row["tokens_out"], tokens_cached=row["tokens_cached"])
    return Reply(
        text=build_rope(row["reply"], texts),
        reasoning="" if row["reasoning_id"] is None else texts[row["reasoning_id"]],
        finish_reason=row["finish_reason"],
        model=row["served"],
        usage=usage,
        seconds=row["seconds"],
        simulated=bool(row["simulated"]),
    )


def _call(sample_id: str, row: dict[str, Any], texts: dict[int, str]) -> Call:
    parameters = json.loads(texts[row["parameters_id"]])
    return Call(
        **{
            name: row[name]
            for name in (
                "id",
                "role",
                "round",
                "attempt",
                "model",
                "outcome",
                "reused_from",
                "superseded",
                "created_at",
            )
        },
        sample_id=sample_id,
        request_hash=row["request_hash"].hex(),
        messages=build_messages(row["messages"], texts),
        parameters=parameters if row["seed"] is None else parameters | {"seed": row["seed"]},
        reply=_reply(row, texts),
    )
