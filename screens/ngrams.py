"""Runs of words that a text shares with a benchmark; the length that counts adapts to short texts.

Thirteen words in common are the usual sign of a leak (Brown et al. 2020, appendix C). A third of a medical benchmark's
questions are shorter than that: there, four fifths of the shorter text count, and all of a text of up to eight words.
"""

from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray

from .minhash import hash_words, mixed

LONGEST, SHORTEST = 13, 4
WHOLE, SHARE = 8, 0.8

Numbers = NDArray[np.int64]


def needed(one: int, other: int) -> int:
    """How many words in a row two texts of so many words must share."""
    shorter = min(one, other)
    return max(shorter, SHORTEST) if shorter <= WHOLE else min(LONGEST, ceil(SHARE * shorter))


class Ngrams:
    """An index of every four words in a row of the benchmark's texts."""

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        self._lengths = np.array([len(text) for text in texts])
        self._whole = {tuple(text): number for number, text in enumerate(texts) if len(text) < SHORTEST}
        hashes = np.concatenate([hash_words(text) for text in texts])
        self._text_of = np.repeat(np.arange(len(texts)), self._lengths)
        grams = _grams(hashes)
        # Four words that begin in one text and end in the next are of neither.
        inside = np.flatnonzero(self._text_of[: len(grams)] == self._text_of[len(hashes) - len(grams) :])
        order = np.argsort(grams[inside], kind="stable")
        self._places = inside[order]
        self._grams = grams[self._places]

    def find(self, text: Sequence[str]) -> dict[int, float]:
        """Number of a benchmark's text → the share of the shorter text that is in common, in one run of words."""
        if len(text) < SHORTEST:
            number = self._whole.get(tuple(text))
            return {} if number is None else {number: 1.0}
        runs = self._runs(_grams(hash_words(text)))
        lengths = {number: int(self._lengths[number]) for number in runs}
        return {
            number: run / min(len(text), lengths[number])
            for number, run in runs.items()
            if run >= needed(len(text), lengths[number])
        }

    def _runs(self, grams: NDArray[np.uint64]) -> dict[int, int]:
        """Number of a benchmark's text → the most words in a row that it shares."""
        first, last = (np.searchsorted(self._grams, grams, side) for side in ("left", "right"))
        counts = last - first
        if not counts.any():
            return {}
        own = np.repeat(np.arange(len(grams)), counts)
        starts = np.repeat(first - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
        places = self._places[starts + np.arange(len(own))]
        # Neighbouring grams on the same diagonal continue a run.
        order = np.lexsort((own, places - own))
        own, places = own[order], places[order]
        breaks = np.flatnonzero((np.diff(own) != 1) | (np.diff(places) != 1)) + 1
        bounds = np.concatenate([[0], breaks, [len(own)]])
        longest: dict[int, int] = {}
        for start, length in zip(bounds[:-1], np.diff(bounds) + SHORTEST - 1, strict=True):
            number = int(self._text_of[places[start]])
            longest[number] = max(longest.get(number, 0), int(length))
        return longest


def _grams(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The hash of every four words in a row."""
    if len(hashes) < SHORTEST:
        return hashes[:0]
    count = len(hashes) - SHORTEST + 1
    found = hashes[:count]
    for step in range(1, SHORTEST):
        found = mixed(found + hashes[step : step + count] * np.uint64(2 * step + 1))
    return found
