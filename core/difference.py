"""How two texts differ, word by word."""

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import groupby
from typing import Literal

LONE = 3  # words: a shorter unchanged stretch between two changes reads better as part of them
_WORDS = re.compile(r"(\S+)(\s*)")

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
