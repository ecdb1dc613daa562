"""Texts: each is stored once, looked up by the hash of its bytes, and returned exactly."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from sqlite3 import Connection

from ...core.errors import DamagedDatabase
from ...core.types import Message

WORTH_SHARING = 120
"""Characters above which a reference to a part of a text is smaller than a copy of it."""

PARAMETERS = 500
"""Parameters in one statement; SQLite before 3.32 allows 999 (sqlite.org/limits.html)."""

CHECK = "run `muser db check` to see what is corrupted"

UNSTORABLE = re.compile("[\ud800-\udfff\x00]")


def put_text(db: Connection, text: str) -> int:
    """The id of `text`; stores it if it is new."""
    return put_texts(db, [text])[text]


def put_texts(db: Connection, texts: Iterable[str]) -> dict[str, int]:
    """The ids of the texts; stores those that are new."""
    exact = {text: text.encode("utf-8", "surrogatepass") for text in texts}
    ids = find_texts(db, exact.values())
    for text, data in exact.items():
        if data not in ids:
            row = (_key(data), readable(text), data if UNSTORABLE.search(text) else None)
            ids[data] = int(db.execute(PUT, row).fetchone()[0])
    return {text: ids[data] for text, data in exact.items()}


PUT = "INSERT INTO texts (hash, body, raw) VALUES (?, ?, ?) RETURNING id"


def find_texts(db: Connection, texts: Iterable[bytes]) -> dict[bytes, int]:
    """Bytes → id, for those of the texts that are stored."""
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
    """`text` with U+FFFD in place of what SQLite or JSON readers cannot handle: lone surrogates and NUL."""
    return UNSTORABLE.sub("\ufffd", text)


STORED = "texts.id, hash, CAST(body AS BLOB) AS body, CAST(raw AS BLOB) AS raw"
"""The columns that `is_altered` compares, as bytes: altered text may not be valid UTF-8."""


def is_altered(hash: bytes, body: bytes | None, raw: bytes | None) -> bool:
    """Does a stored text no longer match its hash?"""
    data = body if raw is None else raw
    if data is None or _key(data) != hash:
        return True
    return raw is not None and body != readable(raw.decode("utf-8", "surrogatepass")).encode()


def get_texts(db: Connection, ids: Iterable[int | None]) -> dict[int, str]:
    """Id → text, exactly as stored. Raises DamagedDatabase if one is missing or was altered."""
    wanted = {i for i in ids if i is not None}
    sql = f"SELECT {STORED} FROM texts WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608
    texts: dict[int, str] = {}
    for i, name, body, raw in db.execute(sql, (json.dumps(sorted(wanted)),)):
        if is_altered(name, body, raw):
            raise DamagedDatabase(f"Text {i} was altered: its content does not match its hash.", todo=CHECK)
        texts[i] = (body if raw is None else raw).decode("utf-8", "surrogatepass")
    if missing := wanted - texts.keys():
        named = ", ".join(map(str, sorted(missing)[:5]))
        raise DamagedDatabase(f"{len(missing)} texts that rows refer to are missing: {named}.", todo=CHECK)
    return texts


def tie(pieces: Iterable[str], ids: Mapping[str, int]) -> str:
    """The rope of these pieces: a JSON list of their ids."""
    return json.dumps([ids[piece] for piece in pieces], separators=(",", ":"))


def tie_messages(messages: Iterable[tuple[str, list[str]]], ids: Mapping[str, int]) -> str:
    """Messages, as (role, pieces), as JSON: [role, id, id, …] for each."""
    return json.dumps([[role, *(ids[piece] for piece in pieces)] for role, pieces in messages], separators=(",", ":"))


def rope_ids(rope: str | None) -> list[int]:
    """The ids in a rope or in stored messages. Raises DamagedDatabase if it is neither."""
    ids: list[int] = []
    try:
        for part in json.loads(rope or "[]"):
            ids += [part] if isinstance(part, int) else part[1:]
        if not all(type(i) is int for i in ids):
            raise ValueError("an id is not a number")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DamagedDatabase(f"A list of texts cannot be read: {error}.", todo=CHECK) from error
    return ids


def build_rope(rope: str, texts: dict[int, str]) -> str:
    """The text, exactly as stored."""
    return "".join(texts[i] for i in json.loads(rope))


def build_messages(messages: str, texts: dict[int, str]) -> tuple[Message, ...]:
    """The messages, exactly as stored."""
    return tuple(Message(role=role, content="".join(texts[i] for i in ids)) for role, *ids in json.loads(messages))


def cut(text: str, known: Sequence[str]) -> list[str]:
    """Cut `text` around the known texts in it, in the order of `known`. The joined pieces equal `text`."""
    pieces = [text]
    for part in known:
        pieces = [new for piece in pieces for new in ([piece] if piece in known else _cut_out(piece, part))]
    return pieces


def _cut_out(text: str, part: str) -> list[str]:
    first, *rest = text.split(part)
    around = [first, *(piece for following in rest for piece in (part, following))]
    return [piece for piece in around if piece] or [""]


def worth_sharing(known: Iterable[str]) -> list[str]:
    """The texts long enough to share, longest first, so that a text that contains another one is found whole."""
    return sorted({text for text in known if len(text) >= WORTH_SHARING}, key=lambda text: (-len(text), text))
