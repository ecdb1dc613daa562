"""Texts, each stored once: found by the hash of what they say, and given back exactly."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from sqlite3 import Connection
from typing import Any

from ..core.types import Message

WORTH_SHARING = 120
"""Characters from which a reference to a part of a message takes less room than the part."""

UNSTORABLE = re.compile("[\ud800-\udfff\x00]")


def put_text(db: Connection, text: str) -> int:
    """The id of `text`, which is stored if it is new."""
    try:
        data = text.encode()
        odd = b"\0" in data
    except UnicodeEncodeError:
        data = text.encode("utf-8", "surrogatepass")
        odd = True
    key = hashlib.sha256(data).digest()
    found = db.execute("SELECT id FROM texts WHERE hash = ?", (key,)).fetchone()
    if found is None:
        row = (key, readable(text), data) if odd else (key, text, None)
        found = db.execute("INSERT INTO texts (hash, body, raw) VALUES (?, ?, ?) RETURNING id", row).fetchone()
    return int(found[0])


def put_json(db: Connection, value: Any) -> int:
    """The id of a JSON value's text."""
    return put_text(db, json.dumps(value, ensure_ascii=False, sort_keys=True))


def readable(text: str) -> str:
    """`text` with U+FFFD for what SQLite's or JSON's readers choke on: lone surrogates and NUL."""
    return UNSTORABLE.sub("\ufffd", text)


def get_texts(db: Connection, ids: Iterable[int | None]) -> dict[int, str]:
    """The texts with these ids, exactly as they were put."""
    wanted = json.dumps(sorted({i for i in ids if i is not None}))
    rows = db.execute("SELECT id, body, raw FROM texts WHERE id IN (SELECT value FROM json_each(?))", (wanted,))
    return {i: body if raw is None else raw.decode("utf-8", "surrogatepass") for i, body, raw in rows}


def put_messages(db: Connection, messages: Iterable[Message], known: Sequence[str] = ()) -> str:
    """JSON with the texts of each message. Where a message quotes a `known` text, that text is referred to."""
    return json.dumps(
        [[m.role, *(put_text(db, piece) for piece in cut(m.content, known))] for m in messages], separators=(",", ":")
    )


def text_ids(messages: str) -> list[int]:
    """The ids that a call's stored messages refer to."""
    return [i for message in json.loads(messages) for i in message[1:]]


def build_messages(messages: str, texts: dict[int, str]) -> tuple[Message, ...]:
    """Stored messages as they were sent."""
    return tuple(Message(role=role, content="".join(texts[i] for i in ids)) for role, *ids in json.loads(messages))


def cut(text: str, known: Sequence[str]) -> list[str]:
    """Cut `text` around the known texts in it, the longest first; the pieces joined are `text`."""
    for i, part in enumerate(known):
        if len(part) >= WORTH_SHARING and (start := text.find(part)) >= 0:
            before, after = text[:start], text[start + len(part) :]
            return [*(cut(before, known[i + 1 :]) if before else []), part, *(cut(after, known[i:]) if after else [])]
    return [text]
