"""How diverse queries are as texts: distinct n-grams, compression, near duplicates and, of embeddings, Vendi score."""

import zlib
from collections.abc import Sequence

import numpy as np

from ..core.types import Value
from ..prompts.joint import Floats
from .coverage import entropy
from .minhash import NEAR, near_sketch
from .words import words

LONGEST_GRAM = 3
MOST_TEXTS = 20_000
"""Of more queries, every n-th is measured: the figures change with the number of texts, and so does the time."""


class Diversity(Value):
    """How diverse the accepted queries are. Compare runs only at about the same number of texts."""

    texts: int
    """queries measured; of more than 20,000 every n-th"""
    distinct: dict[int, float]
    """n → the share of all n-grams of words that are different from one another"""
    compression_ratio: float
    """bytes of all texts, one after the other, per byte that zlib makes of them; higher is more repetitive"""
    near_duplicates: float
    """the share of texts that are near duplicates of an earlier one: 75 % of their pairs of words in common"""
    vendi: float | None
    """Vendi score of the embeddings: the effective number of different texts; none without the extra `data`"""


def measure_diversity(texts: Sequence[str], embeddings: Floats | None = None) -> Diversity:
    """The figures; all 0 without texts. `embeddings` has a row for each text."""
    return Diversity(
        texts=len(texts),
        distinct={n: distinct_share(texts, n) for n in range(1, LONGEST_GRAM + 1)},
        compression_ratio=compression_ratio(texts),
        near_duplicates=near_duplicate_share(texts),
        vendi=None if embeddings is None else vendi_score(embeddings),
    )


def distinct_share(texts: Sequence[str], n: int) -> float:
    """Distinct-n (Li and others, arXiv 1510.03055)."""
    total, seen = 0, set[tuple[str, ...]]()
    for text in texts:
        found = words(text)
        grams = list(zip(*(found[start:] for start in range(n)), strict=False))
        total += len(grams)
        seen.update(grams)
    return len(seen) / total if total else 0.0


def compression_ratio(texts: Sequence[str]) -> float:
    """As proposed for measuring diversity by Shaib and others (arXiv 2403.00553), there with gzip."""
    data = "\n".join(texts).encode("utf-8", "replace")
    return len(data) / len(zlib.compress(data)) if data else 0.0


def near_duplicate_share(texts: Sequence[str]) -> float:
    """The share of the texts that the near duplicates' screen would take for copies of an earlier one."""
    found: dict[bytes, bytes] = {}
    buckets: dict[int, set[bytes]] = {}
    near = 0
    for text in texts:
        sketch = near_sketch(text)
        others = sorted(set[bytes]().union(*(buckets.get(key, ()) for key in sketch.buckets)))
        alike = NEAR.similarity(sketch.data, [found[other] for other in others])
        near += sketch.hash in found or any(value >= NEAR.least for value in alike)
        found[sketch.hash] = sketch.data
        for key in sketch.buckets:
            buckets.setdefault(key, set()).add(sketch.hash)
    return near / len(texts) if texts else 0.0


def vendi_score(embeddings: Floats) -> float:
    """The exponential of the entropy of the similarities' eigenvalues (Friedman and Dieng, arXiv 2210.02410)."""
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    rows = embeddings / np.where(norms > 0, norms, 1)
    if not len(rows):
        return 0.0
    # X Xᵀ / n and Xᵀ X / n have the same eigenvalues above 0, and the second is as small as one embedding is long.
    eigenvalues = np.linalg.eigvalsh(rows.T @ rows / len(rows)).clip(min=0)
    return float(2 ** entropy(eigenvalues))
