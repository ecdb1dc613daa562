"""Packs checkpoint values: compressed, with a reference in place of each text that the store already has.

Checkpoints are small and many, about one a superstep for each sample, and most of their bytes are either LangGraph's
channel names (see WORDS) or model texts that the `texts` table already has (see `pack_value`).
"""

import hashlib
import json
import re
import zlib
from collections.abc import Iterator
from functools import partial
from sqlite3 import Connection
from typing import Any, NamedTuple

import ormsgpack

from ...core.errors import DamagedDatabase
from .texts import CHECK, WORTH_SHARING, find_texts, get_texts, rope_ids

WORTH_PACKING = 160  # bytes
LEVEL = 3  # zlib's level 6 saves another 5% and takes twice as long
SMALL = 4096  # bytes, one window of 2**12: clearing zlib's default tables of 256 KB would take longer than compressing
SURROGATE = re.compile("[\ud800-\udfff]")

WORDS = (
    b"msgpack\xc5\xa2id\xd9$\xa1v\x04\xa2ts\xd9 20-T:.+00:00gradesscore\xb0channel_versions\xde\x00\x10"
    b"\xa9__start__\x02\xa6sample\x02\xa4seed\x02\xa5round\x02\xa4done\x06\xa7persona\x02\xa9critiques\x05\xb1branch:to:persona\x03\xa5query\x03"
    b"\xb1branch:to:respond\x04\xa8response\x04\xb0branch:to:safety\x05\xb7branch:to:communication\x05"
    b"\xb2branch:to:decision\x05\xb0branch:to:refine\x06\xaarefinement\x06\xadversions_seen\x88\xa9__input__\x80"
    b"\xa9__start__\x81\xa9__start__\x01\xa7persona\x81\xb1branch:to:persona\x02\xa7respond\x81\xb1branch:to:respond\x03"
    b"\xadcommunication\x81\xb7branch:to:communication\x04\xa8decision\x81\xb2branch:to:decision\x04\xa6safety\x81"
    b"\xb0branch:to:safety\x04\xa6refine\x81\xb0branch:to:refine\x05\xb0updated_channels\x92\xa4done\xaarefinement"
    b"\xa6sample\x92\xa7msgpack\xc4\xa4seed\x92\xa7msgpack\xc4\x05\xce\xa7persona\x93\xa7msgpack\xc4\x0c\xc3\xa5query\x93\xa7msgpack"
    b"\xc4\x0c\xc3\xa8response\x93\xa7msgpack\xc4\x0c\xc3\xa9critiques\x93\xa7msgpack\xc4\x0c\xc3\xaarefinement\x93\xa7msgpack\xc4\x0c"
    b"\xc3\xa5round\x92\xa7msgpack\xc4\x01\x01\xa4done\x92\xa7msgpack\xc4\x01\xc3"
)
"""zlib's preset dictionary (RFC 1950) for checkpoint states. Never edit it: stored states need it to be read."""


class Blob(NamedTuple):
    """A value to store: its bytes, and the texts in it that the store may already have."""

    data: bytes
    said: list[str]


def value_digest(data: bytes) -> bytes:
    """The key of a value within its thread."""
    return hashlib.blake2b(data, digest_size=12).digest()


def pack_value(db: Connection, blob: Blob) -> tuple[bytes, str | None]:
    """(data, texts) as stored. The first byte of the data says how: - plain, z compressed, t in pieces.

    A piece is either bytes or a number: the index in `texts` of the text that stands there.
    """
    data, texts = blob.data, list[int]()
    pieces: list[bytes | int] = [data]
    ids = find_texts(db, {text.encode() for text in blob.said})
    # Longest first: a short text must not cut a longer one that contains it.
    for said in sorted(ids, key=len, reverse=True):
        if any(isinstance(old, bytes) and said in old for old in pieces):
            pieces = [new for old in pieces for new in _cut(old, said, len(texts))]
            texts.append(ids[said])
    if texts:
        return b"t" + _compress(ormsgpack.packb(pieces)), json.dumps(texts, separators=(",", ":"))
    return (b"z" + _compress(data) if len(data) >= WORTH_PACKING else b"-" + data), None


def _cut(piece: bytes | int, said: bytes, number: int) -> list[bytes | int]:
    if isinstance(piece, int):
        return [piece]
    first, *rest = piece.split(said)
    return [first, *(new for after in rest for new in (number, after))]


def _compress(data: bytes, words: bytes = b"") -> bytes:
    """Readable by `zlib.decompress`, or by a decompressor with `words` as its dictionary.

    zlib and not zstd, which Python's standard library has only from 3.14 on (PEP 784).
    """

    if len(data) > SMALL:
        return zlib.compress(data, LEVEL)
    small = partial(zlib.compressobj, LEVEL, wbits=12, memLevel=5)
    packer = small(zdict=words) if words else small()
    return packer.compress(data) + packer.flush()


def pack_state(state: bytes) -> bytes:
    """A checkpoint's state as it is stored."""
    return _compress(state, WORDS)


def unpack_state(state: bytes) -> bytes:
    """The state as packed. Raises DamagedDatabase if it was altered (zlib checks an Adler-32 checksum)."""
    try:
        return zlib.decompressobj(zdict=WORDS).decompress(state)
    except zlib.error as error:
        raise DamagedDatabase(f"A step cannot be read: {error}.", todo=CHECK) from error


def unpack_value(db: Connection, stored: bytes, texts: str | None) -> bytes:
    """The value as packed. Raises DamagedDatabase if it was altered, or if a text that it quotes is missing."""
    how, data = stored[:1], stored[1:]
    try:
        if how != b"t":
            return zlib.decompress(data) if how == b"z" else data
        ids = rope_ids(texts)
        bodies = get_texts(db, ids)
        pieces = ormsgpack.unpackb(zlib.decompress(data))
        return b"".join(bodies[ids[piece]].encode() if isinstance(piece, int) else piece for piece in pieces)
    except (zlib.error, ValueError, TypeError, LookupError) as error:
        raise DamagedDatabase(f"A value in a step cannot be read: {error}.", todo=CHECK) from error


def long_texts(value: Any) -> Iterator[str]:
    """The texts in plain data that are long enough to share; those with lone surrogates are left out."""
    if isinstance(value, str):
        if len(value) >= WORTH_SHARING and not SURROGATE.search(value):
            yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from long_texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from long_texts(one)
