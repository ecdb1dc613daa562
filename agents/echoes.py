"""Echoes: texts that repeat the instructions of their prompt. Time is linear."""

import re
from collections import Counter
from functools import lru_cache

from ..core.repetition import EDGES, MOSTLY, PASSAGE, READ, UNSPACED, passages_of, words_of


def _said(text: str) -> list[str]:
    """The words that are more than punctuation."""
    return [word for word in words_of(text) if word.strip(EDGES)]


def is_echo(text: str, instructions: str) -> bool:
    """Whether most of a text is passages of the instructions."""
    words, (passages, _) = _said(text[:READ]), _read_instructions(instructions)
    covered = [False] * len(words)
    for place, passage in enumerate(passages_of(words)):
        if passage in passages:
            covered[place : place + PASSAGE] = [True] * PASSAGE
    return any(covered) and sum(covered) >= MOSTLY * len(words)


def is_quotation(text: str, instructions: str) -> bool:
    """Whether a text is shorter than a passage and all of it is in the instructions, in the same order."""
    words = _said(text[:READ])
    return 0 < len(words) < PASSAGE and f" {' '.join(words)} " in _read_instructions(instructions)[1]


# A run has few prompts, and checks every reply against one of them.
@lru_cache(maxsize=64)
def _read_instructions(instructions: str) -> tuple[frozenset[tuple[str, ...]], str]:
    """(Every passage, all words on one line.)"""
    words = _said(instructions)
    return frozenset(passages_of(words)), f" {' '.join(words)} "


def opens_with_instruction(text: str, instructions: str) -> bool:
    """Whether a text starts with a word that also starts a sentence of the instructions, and a colon: "Write: I am"."""
    label = _LABEL.match(text)
    return label is not None and label[1].casefold() in _openers(instructions)


_LABEL = re.compile(r"[\W_]{0,8}(\w{1,24})[*_ ]{0,4}:(?!\w)")
_OPENER = re.compile(r"(?:^|[.:!?\n])[^\w\n]*([^\W\d_]\w*)")


@lru_cache(maxsize=64)
def _openers(instructions: str) -> frozenset[str]:
    return frozenset(word.casefold() for word in _OPENER.findall(instructions))


def weigh_letters(text: str) -> int:
    """How many letters a text would have in an alphabet with vowels: syllables and words in one sign weigh more."""
    return sum(_weight(letter) * times for letter, times in Counter(text[:READ]).items() if letter.isalnum())


def _weight(letter: str) -> int:
    if letter < "\u0530":  # Latin, Greek and Cyrillic
        return 1
    return 3 if _IS_UNSPACED.match(letter) else 2


_IS_UNSPACED = re.compile(f"[{UNSPACED}]")
