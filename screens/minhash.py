"""Near duplicates: two texts are near if they share most of their pairs of neighbouring words (MinHash with LSH).

The probability that two texts share a bucket rises steeply with the Jaccard similarity of their pairs. With 12 bands of
5 hashes it is 96 % at a similarity of 0.75, 99 % at 0.8, and 0.01 % at 0.1 (Leskovec, Rajaraman and Ullman, Mining of
Massive Datasets, section 3.4). More bands would find more, but each is a page of the store to read and to write. Texts
that share a bucket are then compared exactly.
"""

import hashlib
import zlib
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..store.records.neighbours import Near, Sketch
from .words import words

BANDS, ROWS = 12, 5
LEAST = 0.75
"""The similarity from which two texts are near duplicates: about two words changed in thirty."""

Hashes = NDArray[np.uint64]
ONE, HALF, KEY = np.uint64(1), np.uint64(32), np.uint64(16)


def exact_sketch(text: str) -> Sketch:
    """A sketch whose neighbours are the texts of the same words, whatever their case, spaces and punctuation."""
    return Sketch(hash=_digest("exact", words(text)))


def near_sketch(text: str) -> Sketch:
    """A sketch whose neighbours, by NEAR, are the near duplicates."""
    found = words(text)
    pairs = shingles(found)
    data = (pairs >> HALF).astype("<u4")
    return Sketch(hash=_digest("near", found), data=data.tobytes(), buckets=_buckets(pairs))


def _digest(kind: str, found: Sequence[str]) -> bytes:
    return hashlib.sha256("\n".join([kind, *found]).encode("utf-8", "surrogatepass")).digest()[:16]


def shingles(found: Sequence[str]) -> Hashes:
    """The hashes of the pairs of neighbouring words, each once, ascending; a single word counts as a pair."""
    hashes = hash_words(found)
    # The order of a pair matters: "not safe, take" differs from "safe, not take".
    pairs = mixed(hashes[:-1] * np.uint64(3) + hashes[1:]) if len(hashes) > 1 else hashes
    return np.unique(pairs)


def hash_words(found: Sequence[str]) -> Hashes:
    """A number for each word, the same on every machine."""
    single = [zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in found]
    return mixed(np.array(single, dtype=np.uint64) + ONE)


def jaccard(data: bytes, others: Sequence[bytes]) -> list[float]:
    """The share of the pairs of words of both texts that they have in common, for each of the others."""
    own = np.frombuffer(data, dtype="<u4")
    found = []
    for other in others:
        pairs = np.frombuffer(other, dtype="<u4")
        common = len(np.intersect1d(own, pairs))
        found.append(common / max(len(own) + len(pairs) - common, 1))
    return found


NEAR = Near(similarity=jaccard, least=LEAST)


def _buckets(pairs: Hashes) -> tuple[int, ...]:
    """One bucket a band, of 48 bits, which SQLite stores in six bytes."""
    if not len(pairs):
        return ()
    factors, offsets = _permutations()
    least = ((pairs[:, None] * factors + offsets) >> HALF).min(axis=0).reshape(BANDS, ROWS)
    keys = np.arange(1, BANDS + 1, dtype=np.uint64)
    for row in range(ROWS):
        keys = mixed(keys + least[:, row])
    return tuple(int(key) for key in keys >> KEY)


@cache
def _permutations() -> tuple[Hashes, Hashes]:
    """Factors, which must be odd, and offsets: a * x + b in 64 bits, of which the upper half is kept."""
    drawn = mixed(np.arange(1, 2 * BANDS * ROWS + 1, dtype=np.uint64))
    return drawn[: BANDS * ROWS] | ONE, drawn[BANDS * ROWS :]


def mixed(values: Hashes) -> Hashes:
    """MurmurHash3's finalizer: each bit of the value changes half of the bits of the result."""
    shift = np.uint64(33)
    values = (values ^ (values >> shift)) * np.uint64(0xFF51AFD7ED558CCD)
    values = (values ^ (values >> shift)) * np.uint64(0xC4CEB9FE1A85EC53)
    return values ^ (values >> shift)
