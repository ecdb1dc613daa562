"""Texts that share most of their wording with a benchmark's, in any order: reworded, shortened or shuffled copies.

The rarest words of a text find the candidates, and rapidfuzz compares their sorted words letter by letter, so that an
inflected or mistyped word still counts. Long texts are also compared paragraph by paragraph.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..core.errors import SettingsError
from ..core.installation import install_hint
from .words import words

try:
    from rapidfuzz import fuzz
except ImportError as error:
    raise SettingsError("fuzzy comparison needs rapidfuzz", todo=install_hint("data")) from error

LEAST = 68
"""The similarity of the sorted words, of 100, from which a text is a reworded copy."""

SHORTEST = 5
"""Words of the shortest paragraph that is compared by itself."""

RAREST, CANDIDATES = 12, 12

Numbers = NDArray[np.int64]


def blocks(text: str) -> Iterator[list[str]]:
    """The words of the text and, if it has several paragraphs, of each that is long enough."""
    yield words(text)
    paragraphs = re.split(r"\n\s*\n", text.strip())
    if len(paragraphs) > 1:
        for paragraph in paragraphs:
            found = words(paragraph)
            if len(found) >= SHORTEST:
                yield found


class Fuzzy:
    """The benchmark's blocks, found by their words."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._text_of: list[int] = []
        self._sorted: list[str] = []
        found: list[list[str]] = []
        for number, text in enumerate(texts):
            for block in blocks(text):
                self._text_of.append(number)
                self._sorted.append(" ".join(sorted(block)))
                found.append(block)
        places: dict[str, list[int]] = {}
        for number, block in enumerate(found):
            for word in set(block):
                places.setdefault(word, []).append(number)
        self._blocks_with = {word: np.array(numbers) for word, numbers in places.items()}
        self._weight = {word: float(np.log(1 + len(found) / len(numbers))) for word, numbers in places.items()}
        self._rare = float(np.log(1 + len(found)))
        self._mass = np.array([self._mass_of(block) for block in found])

    def find(self, text: str) -> dict[int, float]:
        """Number of a benchmark's text → similarity of the nearest blocks, from 0 to 1."""
        best: dict[int, float] = {}
        for block in blocks(text):
            own = " ".join(sorted(block))
            for candidate in self._candidates(block):
                score = fuzz.ratio(own, self._sorted[candidate], score_cutoff=LEAST) / 100
                number = self._text_of[candidate]
                if score > best.get(number, 0):
                    best[number] = score
        return best

    def _candidates(self, block: Sequence[str]) -> Numbers:
        """The blocks that share the most of the rarest words, weighted by how rare they are."""
        rarest = sorted(set(block) & self._weight.keys(), key=lambda word: (-self._weight[word], word))[:RAREST]
        if not rarest:
            return np.array([], dtype=np.int64)
        numbers = np.concatenate([self._blocks_with[word] for word in rarest])
        weights = np.concatenate([np.full(len(self._blocks_with[word]), self._weight[word]) for word in rarest])
        sharing, slots = np.unique(numbers, return_inverse=True)
        shared = np.bincount(slots, weights) / (self._mass[sharing] + self._mass_of(block))
        return sharing[np.argsort(-shared, kind="stable")[:CANDIDATES]]

    def _mass_of(self, block: Sequence[str]) -> float:
        return sum(self._weight.get(word, self._rare) for word in Counter(block)) or 1.0
