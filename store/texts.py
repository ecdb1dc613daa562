"""Texts, each stored once: found by the hash of what they say, and given back exactly."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from sqlite3 import Connection
from typing import Any

from ..core.errors import DamagedDatabase
from ..core.types import Message

WORTH_SHARING = 120
"""Characters from which referring to a part of a text takes less room than repeating it."""

UNSTORABLE = re.compile("[\ud800-\udfff\x00]")


def put_text(db: Connection, text: str) -> int:
    """The id of `text`, which is stored if it is new."""
    try:
        data = text.encode()
        odd = b"\0" in data
    except UnicodeEncodeError:
        data = text.encode("utf-8", "surrogatepass")
        odd = True
    found = find_text(db, data)
    if found is None:
        row = (_key(data), readable(text), data) if odd else (_key(data), text, None)
        found = db.execute("INSERT INTO texts (hash, body, raw) VALUES (?, ?, ?) RETURNING id", row).fetchone()[0]
    return int(found)


def find_text(db: Connection, data: bytes) -> int | None:
    """The id of the text that these bytes are, if it is stored."""
    found = db.execute("SELECT id FROM texts WHERE hash = ?", (_key(data),)).fetchone()
    return None if found is None else int(found[0])


def _key(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def put_json(db: Connection, value: Any) -> int:
    """The id of a JSON value's text."""
    return put_text(db, json.dumps(value, ensure_ascii=False, sort_keys=True))


def readable(text: str) -> str:
    """`text` with U+FFFD for what SQLite's or JSON's readers choke on: lone surrogates and NUL."""
    return UNSTORABLE.sub("\ufffd", text)


def get_texts(db: Connection, ids: Iterable[int | None]) -> dict[int, str]:
    """The texts with these ids, exactly as they were put. DamagedDatabase if one is not there."""
    wanted = {i for i in ids if i is not None}
    sql = "SELECT id, body, raw FROM texts WHERE id IN (SELECT value FROM json_each(?))"
    rows = db.execute(sql, (json.dumps(sorted(wanted)),))
    texts = {i: body if raw is None else raw.decode("utf-8", "surrogatepass") for i, body, raw in rows}
    if missing := wanted - texts.keys():
        raise DamagedDatabase(
            f"{len(missing)} texts that are referred to are not there.", todo="`muser db check` says what is hurt"
        )
    return texts


def put_rope(db: Connection, text: str, known: Iterable[str] = ()) -> str:
    """A text as JSON: the ids of texts that follow one another. Where it quotes a `known` text, that one is shared."""
    return json.dumps([put_text(db, piece) for piece in cut(text, _worth_sharing(known))], separators=(",", ":"))


def put_messages(db: Connection, messages: Iterable[Message], known: Iterable[str] = ()) -> str:
    """Messages as JSON: [role, id, id, …] for each, cut like ropes."""
    shared = _worth_sharing(known)
    cut_up = [[m.role, *(put_text(db, piece) for piece in cut(m.content, shared))] for m in messages]
    return json.dumps(cut_up, separators=(",", ":"))


def rope_ids(rope: str | None) -> list[int]:
    """The ids in a rope, or in messages."""
    ids: list[int] = []
    for part in json.loads(rope or "[]"):
        ids += [part] if isinstance(part, int) else part[1:]
    return ids


def build_rope(rope: str, texts: dict[int, str]) -> str:
    """The text, exactly as it was put."""
    return "".join(texts[i] for i in json.loads(rope))


def build_messages(messages: str, texts: dict[int, str]) -> tuple[Message, ...]:
    """The messages, exactly as they were put."""
    return tuple(Message(role=role, content="".join(texts[i] for i in ids)) for role, *ids in json.loads(messages))


def cut(text: str, known: Sequence[str]) -> list[str]:
    """Cut `text` around the known texts in it, the first known one first; the pieces joined are `text`."""
    pieces = [text]
    for part in known:
        pieces = [new for piece in pieces for new in ([piece] if piece in known else _cut_out(piece, part))]
    return pieces


def _cut_out(text: str, part: str) -> list[str]:
    first, *rest = text.split(part)
    around = [first, *(piece for following in rest for piece in (part, following))]
    return [piece for piece in around if piece] or [""]


def _worth_sharing(known: Iterable[str]) -> list[str]:
    """The longest first, so that a text which holds another one is found whole."""
    return sorted({text for text in known if len(text) >= WORTH_SHARING}, key=lambda text: (-len(text), text))
