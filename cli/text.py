"""Model text in a terminal: what of it may be printed, and how two texts differ word by word."""

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import groupby
from typing import Literal

# Whole escape sequences go first, so that nothing of "ESC [ 31 m" or of a window title stays behind as text.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"  # OSC, DCS, SOS, PM, APC
    r"|\x1b[ -/]*[0-~]"
)
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_LINES = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_WORDS = re.compile(r"(\S+)(\s*)")

LONE = 3  # words: a shorter unchanged stretch between two changes reads better as part of them


def plain(text: str) -> str:
    """Text without control codes and bidi marks; what is left can neither move the cursor nor reorder a line."""
    text = _CONTROLS.sub("", _LINES.sub("\n", _SEQUENCES.sub("", text)))
    return _SURROGATES.sub("\ufffd", text)


def one_line(text: str, width: int) -> str:
    """The beginning of a text on one line of at most `width` characters."""
    joined = " ".join(plain(text).split())
    return joined if len(joined) <= width else joined[: max(width - 1, 0)].rstrip() + "…"


Change = Literal["same", "out", "in"]


def word_diff(before: str, after: str) -> Iterator[tuple[Change, str]]:
    """The words of both texts in order: kept ones, those only `before` has, those only `after` has."""
    old, new = _WORDS.findall(before.strip()), _WORDS.findall(after.strip())
    matcher = SequenceMatcher(None, [word for word, _ in old], [word for word, _ in new], autojunk=False)
    steps = matcher.get_opcodes()

    def is_kept(step: tuple[str, int, int, int, int]) -> bool:
        tag, i, j, _, _ = step
        return tag == "equal" and (j - i >= LONE or step in (steps[0], steps[-1]))

    for kept, group in groupby(steps, is_kept):
        stretch = list(group)
        left, right = old[stretch[0][1] : stretch[-1][2]], new[stretch[0][3] : stretch[-1][4]]
        if kept:
            yield "same", _joined(right)
        else:
            yield from _changed("out", left)
            yield from _changed("in", right)


def _joined(words: list[tuple[str, str]]) -> str:
    return "".join(word + space for word, space in words)


def _changed(change: Change, words: list[tuple[str, str]]) -> Iterator[tuple[Change, str]]:
    if words:
        text = _joined(words)
        yield change, text.rstrip()
        # The white space after a change belongs to neither side, so that marks hug their words.
        yield "same", text[len(text.rstrip()) :] or " "
