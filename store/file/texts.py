"""Texts, each stored once: found by the hash of what they say, and given back exactly."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from sqlite3 import Connection

from ...core.errors import DamagedDatabase
from ...core.types import Message

WORTH_SHARING = 120
"""Characters from which referring to a part of a text takes less room than repeating it."""

PARAMETERS = 500
"""Question marks in one statement."""

CHECK = "`muser db check` says what is corrupted"

UNSTORABLE = re.compile("[\ud800-\udfff\x00]")


def put_text(db: Connection, text: str) -> int:
    """The id of `text`, which is stored if it is new."""
    return put_texts(db, [text])[text]


def put_texts(db: Connection, texts: Iterable[str]) -> dict[str, int]:
    """The ids of texts; those that are new are stored."""
    exact = {text: text.encode("utf-8", "surrogatepass") for text in texts}
    ids = find_texts(db, exact.values())
    for text, data in exact.items():
        if data not in ids:
            row = (_key(data), readable(text), data if UNSTORABLE.search(text) else None)
            ids[data] = int(db.execute(PUT, row).fetchone()[0])
    return {text: ids[data] for text, data in exact.items()}


PUT = "INSERT INTO texts (hash, body, raw) VALUES (?, ?, ?) RETURNING id"


def find_texts(db: Connection, texts: Iterable[bytes]) -> dict[bytes, int]:
    """The ids of those of the texts that are stored, by their bytes."""
    keys = {_key(data): data for data in texts}
    found: dict[bytes, int] = {}
    rest = iter(keys)
    while some := list(islice(rest, PARAMETERS)):
        sql = f"SELECT hash, id FROM texts WHERE hash IN ({', '.join('?' * len(some))})"  # noqa: S608 - question marks
        found |= {keys[name]: number for name, number in db.execute(sql, some)}
    return found


def _key(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def readable(text: str) -> str:
    """`text` with U+FFFD for what SQLite's or JSON's readers choke on: lone surrogates and NUL."""
    return UNSTORABLE.sub("\ufffd", text)


STORED = "texts.id, hash, CAST(body AS BLOB) AS body, CAST(raw AS BLOB) AS raw"
"""The columns that `is_altered` compares, as bytes: an altered text need not be UTF-8."""


def is_altered(hash: bytes, body: bytes | None, raw: bytes | None) -> bool:
    """Does a stored text differ from the one whose hash was stored with it?"""
    data = body if raw is None else raw
    if data is None or _key(data) != hash:
        return True
    return raw is not None and body != readable(raw.decode("utf-8", "surrogatepass")).encode()


def get_texts(db: Connection, ids: Iterable[int | None]) -> dict[int, str]:
    """The texts with these ids, exactly as they were put. DamagedDatabase if one is missing or was altered."""
    wanted = {i for i in ids if i is not None}
    sql = f"SELECT {STORED} FROM texts WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608
    texts: dict[int, str] = {}
    for i, name, body, raw in db.execute(sql, (json.dumps(sorted(wanted)),)):
        if is_altered(name, body, raw):
            raise DamagedDatabase(f"Text {i} was altered: its content does not match its hash.", todo=CHECK)
        texts[i] = (body if raw is None else raw).decode("utf-8", "surrogatepass")
    if missing := wanted - texts.keys():
        named = ", ".join(map(str, sorted(missing)[:5]))
        raise DamagedDatabase(f"{len(missing)} texts are missing that rows refer to: {named}.", todo=CHECK)
    return texts


def tie(pieces: Iterable[str], ids: Mapping[str, int]) -> str:
    """The rope of pieces that are stored under these ids."""
    return json.dumps([ids[piece] for piece in pieces], separators=(",", ":"))


def tie_messages(messages: Iterable[tuple[str, list[str]]], ids: Mapping[str, int]) -> str:
    """Messages, as (role, pieces), as JSON: [role, id, id, …] for each."""
    return json.dumps([[role, *(ids[piece] for piece in pieces)] for role, pieces in messages], separators=(",", ":"))


def rope_ids(rope: str | None) -> list[int]:
    """The ids in a rope, or in messages. DamagedDatabase if it is neither."""
    ids: list[int] = []
    try:
        for part in json.loads(rope or "[]"):
            ids += [part] if isinstance(part, int) else part[1:]
        if not all(type(i) is int for i in ids):
            raise ValueError("an id is no number")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DamagedDatabase(f"A list of texts cannot be read: {error}.", todo=CHECK) from error
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


def worth_sharing(known: Iterable[str]) -> list[str]:
    """Those that are long enough, the longest first, so that a text which holds another one is found whole."""
    return sorted({text for text in known if len(text) >= WORTH_SHARING}, key=lambda text: (-len(text), text))
