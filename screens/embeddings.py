"""Texts as vectors of what they mean: the mean of their tokens' vectors, from weights that a wheel contains.

The weights are WordLlama's (MIT license, trained on English text). Only the wheel's two data files are read: its code
would change the program's logging, and may download.
"""

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.errors import SettingsError
from ..core.installation import install_hint
from ..store.records.neighbours import Near, Sketch
from .minhash import mixed
from .words import words

try:
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer
except ImportError as error:
    raise SettingsError("embeddings need wordllama", todo=install_hint("data")) from error

Vectors = NDArray[np.float32]

WEIGHTS = "weights/l2_supercat_256.safetensors"
TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
SIZE = 256
BATCH = 1000
LETTER, LATIN = re.compile(r"[^\W\d_]"), re.compile("[A-Za-z\u00c0-\u024f]")

BANDS, BITS = 24, 22
LEAST = 0.92
"""The cosine from which two texts are semantic duplicates. The buckets find 70 % of the texts at it, 91 % at 0.95 and
99 % at 0.97."""

OUTLINE, DIFFERENT = 63, 18
"""Further planes, and on how many of them near texts may be on different sides: 99.9 % differ in fewer at 0.92."""


def embed(texts: Sequence[str]) -> Vectors:
    """One row of length 1 for each text; of length 0 for a text that is mostly not in Latin letters.

    The weights know other scripts only as single letters, by which all texts in a script are alike.
    """
    tokenizer, vectors = _model()
    made = np.zeros((len(texts), SIZE), dtype=np.float32)
    for start in range(0, len(texts), BATCH):
        batch = [text.encode("utf-8", "replace").decode() for text in texts[start : start + BATCH]]
        for row, found in enumerate(tokenizer.encode_batch_fast(batch, add_special_tokens=False), start):
            vectors.take(found.ids, axis=0).sum(axis=0, out=made[row])
    made[[2 * len(LATIN.findall(text)) <= len(LETTER.findall(text)) for text in texts]] = 0
    lengths = np.linalg.norm(made, axis=1, keepdims=True)
    made /= np.maximum(lengths, np.finfo(np.float32).tiny)
    return made


def meaning_sketch(text: str) -> Sketch:
    """A sketch whose neighbours, by SAME_MEANING, are the semantic duplicates: a vector in 256 bytes."""
    vector = embed([text])[0]
    data = np.rint(vector * (127 / max(float(np.abs(vector).max()), 1e-9))).astype(np.int8)
    name = hashlib.sha256("\n".join(["meaning", *words(text)]).encode("utf-8", "surrogatepass")).digest()[:16]
    if not data.any():
        return Sketch(hash=name, data=data.tobytes())
    buckets, outline = _sides(data)
    return Sketch(hash=name, data=data.tobytes(), buckets=buckets, outline=outline)


def cosines(data: bytes, others: Sequence[bytes]) -> list[float]:
    """The cosine of the angle between a stored vector and each of the others."""
    own = np.frombuffer(data, dtype=np.int8).astype(np.float32)
    rest = np.frombuffer(b"".join(others), dtype=np.int8).reshape(len(others), SIZE).astype(np.float32)
    lengths = np.linalg.norm(rest, axis=1) * np.linalg.norm(own)
    return [float(value) for value in rest @ own / np.maximum(lengths, 1)]


SAME_MEANING = Near(similarity=cosines, least=LEAST, bits=DIFFERENT)


def _sides(data: NDArray[np.int8]) -> tuple[tuple[int, ...], int]:
    """On which side of random planes the vector lies (Charikar 2002): a bucket for each band, and an outline."""
    # Sums of whole numbers below 2**24 are exact in float32, so that every machine finds the same sides.
    sides = data.astype(np.float32) @ _planes() > 0
    powers = np.uint64(1) << np.arange(OUTLINE, dtype=np.uint64)
    numbers = sides[OUTLINE:].reshape(BANDS, BITS) @ powers[:BITS]
    named = mixed(numbers + (np.arange(1, BANDS + 1, dtype=np.uint64) << np.uint64(32)))
    return tuple(int(key) for key in named >> np.uint64(16)), int(sides[:OUTLINE] @ powers)


@cache
def _planes() -> Vectors:
    planes = OUTLINE + BANDS * BITS
    bits = mixed(np.arange(1, SIZE * planes + 1, dtype=np.uint64)) >> np.uint64(63)
    return (bits.astype(np.float32) * 2 - 1).reshape(SIZE, planes)


@cache
def _model() -> tuple[Tokenizer, Vectors]:
    found = find_spec("wordllama")
    if found is None or not found.submodule_search_locations:
        raise SettingsError("embeddings need wordllama", todo=install_hint("data"))
    folder = Path(found.submodule_search_locations[0])
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    # The file asks for padding, which would make every text of a batch as long as the longest.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer, load_file(folder / WEIGHTS)["embedding.weight"].astype(np.float32)
