"""What a text repeats: its own passages (a loop), or the instructions of its prompt (an echo). Time is linear."""

import re
from collections import Counter
from functools import lru_cache

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
_EDGES = " \t\r\n.,;:!?…\"'`´“”‘’«»()[]{}<>*_#-–—/\\|。，、；：？！（）「」"


def words_of(text: str) -> list[str]:
    """The words without case, punctuation at their edges and the difference between numbers."""
    return [word.strip(_EDGES) or word for word in _WORD.findall(_DIGITS.sub("0", text.casefold()))]


def _said(text: str) -> list[str]:
    """The words that are more than punctuation."""
    return [word for word in words_of(text) if word.strip(_EDGES)]


def is_loop(text: str, *, cut: bool) -> bool:
    """Whether most of a text repeats passages of its own; of one that was `cut` off, most of its end."""
    words = words_of(text[-READ:])
    repeated = _repeated(words)
    if cut and len(words) >= CUT_TAIL and sum(repeated[-CUT_TAIL:]) >= CUT_MOSTLY * CUT_TAIL:
        return True
    return sum(repeated) >= max(LOOPED, MOSTLY * len(words))


def _repeated(words: list[str]) -> list[bool]:
    """For each word, whether it is in a passage that was written `SEEN` times before."""
    times: dict[tuple[str, ...], int] = {}
    covered = [False] * len(words)
    for place in range(len(words) - PASSAGE + 1):
        passage = tuple(words[place : place + PASSAGE])
        before = times.get(passage, 0)
        times[passage] = before + 1
        if before >= SEEN:
            covered[place : place + PASSAGE] = [True] * PASSAGE
    return covered


def is_echo(text: str, instructions: str) -> bool:
    """Whether most of a text is passages of the instructions."""
    words, (passages, _) = _said(text[:READ]), _read_instructions(instructions)
    covered = [False] * len(words)
    for place in range(len(words) - PASSAGE + 1):
        if tuple(words[place : place + PASSAGE]) in passages:
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
    found = frozenset(tuple(words[place : place + PASSAGE]) for place in range(len(words) - PASSAGE + 1))
    return found, f" {' '.join(words)} "


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
