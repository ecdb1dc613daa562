"""Loops: texts that repeat passages of their own. Time is linear."""

import re
from collections import Counter
from collections.abc import Sequence

READ = 100_000  # characters of a text that are looked at: its end for a loop, its start for an echo
PASSAGE = 6  # words that count as a passage when they are repeated
SEEN = 2  # earlier times that a passage was written when it counts as a loop: lists and tables repeat some once
LOOPED = 30  # repeated words at least: shorter repetition is a habit of style
MOSTLY = 0.5  # share of a text's words
CUT_MOSTLY = 0.8  # share of the last words of a text that was cut off
CUT_TAIL = 60  # words at the end of a text that was cut off

# Scripts written without spaces: Thai to Myanmar, Khmer, kana, Han. One letter of them counts as a word.
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# The bound on a word's length finds repetition also in text without any space.
_WORD = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]{{1,24}}")
_DIGITS = re.compile(r"\d+")
EDGES = " \t\r\n.,;:!?…\"'`´“”‘’«»()[]{}<>*_#-–—/\\|。，、；：？！（）「」"


def words_of(text: str) -> list[str]:
    """The words without case, punctuation at their edges and the difference between numbers."""
    return [_bare(word) for word in _WORD.findall(text)]


def _bare(word: str) -> str:
    bare = _DIGITS.sub("0", word.casefold())
    return bare.strip(EDGES) or bare


def is_loop(text: str, *, cut: bool) -> bool:
    """Whether most of a text repeats passages of its own; of one that was `cut` off, most of its end."""
    words = words_of(text[-READ:])
    repeated = _repeated(words)
    if cut and len(words) >= CUT_TAIL and sum(repeated[-CUT_TAIL:]) >= CUT_MOSTLY * CUT_TAIL:
        return True
    return sum(repeated) >= max(LOOPED, MOSTLY * len(words))


def find_loop(text: str) -> int | None:
    """Where a passage that makes the text a loop is written for the second time; None if there is none."""
    skipped = max(0, len(text) - READ)
    found = list(_WORD.finditer(text, skipped))
    passages = passages_of([_bare(word[0]) for word in found])
    times = Counter(passages)
    seen = set()
    for word, passage in zip(found, passages, strict=False):
        if passage in seen and times[passage] > SEEN:
            return word.start()
        seen.add(passage)
    return None


def passages_of(words: Sequence[str]) -> list[tuple[str, ...]]:
    """Every passage of a text, in order: one starts at each word but the last few."""
    return [tuple(words[place : place + PASSAGE]) for place in range(len(words) - PASSAGE + 1)]


def _repeated(words: list[str]) -> list[bool]:
    """For each word, whether it is in a passage that was written `SEEN` times before."""
    times: Counter[tuple[str, ...]] = Counter()
    covered = [False] * len(words)
    for place, passage in enumerate(passages_of(words)):
        if times[passage] >= SEEN:
            covered[place : place + PASSAGE] = [True] * PASSAGE
        times[passage] += 1
    return covered
