"""How two texts differ, word by word."""

import re
from collections import Counter
from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import groupby
from typing import Literal

LONE = 3  # words: a shorter unchanged stretch between two changes reads better as part of them
_WORDS = re.compile(r"(\S+)(\s*)")

Change = Literal["same", "out", "in"]
Step = tuple[str, int, int, int, int]
"""(tag, begin and end in the old words, begin and end in the new ones)."""

MOST_MATCHES = 1_000_000
"""Pairs of equal words, one from each text, that a comparison may look at."""


def word_diff(before: str, after: str) -> Iterator[tuple[Change, str]]:
    """The words of both texts in order: kept ones, those only `before` has, those only `after` has."""
    old, new = _WORDS.findall(before.strip()), _WORDS.findall(after.strip())
    steps = _steps([word for word, _ in old], [word for word, _ in new])

    def is_kept(step: Step) -> bool:
        tag, i, j, _, _ = step
        return tag == "equal" and (j - i >= LONE or step in (steps[0], steps[-1]))

    for kept, group in groupby(steps, is_kept):
        stretch = list(group)
        ends = stretch[-1] == steps[-1]
        left, right = old[stretch[0][1] : stretch[-1][2]], new[stretch[0][3] : stretch[-1][4]]
        if kept:
            text = _joined(right)
            yield "same", text if ends or text[-1:].isspace() else f"{text} "
        else:
            yield from _changed("out", left)
            yield from _changed("in", right)


def _steps(old: list[str], new: list[str]) -> list[Step]:
    """As SequenceMatcher gives them; where it would take minutes, what is not alike at both ends is all replaced."""
    ends = min(len(old), len(new))
    head = next((at for at in range(ends) if old[at] != new[at]), ends)
    tail = next((at for at in range(ends - head) if old[-1 - at] != new[-1 - at]), ends - head)
    left, right = old[head : len(old) - tail], new[head : len(new) - tail]
    again = Counter(right)
    if sum(count * again[word] for word, count in Counter(left).items()) > MOST_MATCHES:
        middle: list[Step] = [("replace", 0, len(left), 0, len(right))]
    else:
        middle = list(SequenceMatcher(None, left, right, autojunk=False).get_opcodes())
    found: list[Step] = [("equal", 0, head, 0, head)] if head else []
    found += [(tag, i + head, j + head, k + head, m + head) for tag, i, j, k, m in middle]
    if tail:
        found.append(("equal", len(old) - tail, len(old), len(new) - tail, len(new)))
    return found


def _joined(words: list[tuple[str, str]]) -> str:
    return "".join(word + space for word, space in words)


def _changed(change: Change, words: list[tuple[str, str]]) -> Iterator[tuple[Change, str]]:
    if words:
        text = _joined(words)
        yield change, text.rstrip()
        # The white space after a change belongs to neither side, so that marks hug their words.
        yield "same", text[len(text.rstrip()) :] or " "
