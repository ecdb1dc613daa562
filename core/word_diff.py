"""The difference between two texts, word by word."""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from itertools import groupby
from typing import Literal

LONE = 3  # words: a shorter unchanged stretch between two changes reads better as part of them
_WORDS = re.compile(r"(\S+)(\s*)")

Change = Literal["same", "out", "in"]
Step = tuple[str, int, int, int, int]
"""(tag, start and end in the old words, start and end in the new ones), as in difflib's opcodes."""

EFFORT = 500
"""Word comparisons allowed for each word, so that the time stays linear in the texts."""


def word_diff(before: str, after: str) -> Iterator[tuple[Change, str]]:
    """The words of both texts in order: kept (`same`), only in `before` (`out`), only in `after` (`in`)."""
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


def _steps(old: list[str], new: list[str], depth: int = 2) -> list[Step]:
    """Like SequenceMatcher's opcodes, in linear time.

    Texts that would take too long are first split at words that both contain exactly once (patience diff), up to
    `depth` times. A part that is still too long counts as replaced, except for its common beginning and end.
    """
    ends = min(len(old), len(new))
    head = next((at for at in range(ends) if old[at] != new[at]), ends)
    tail = next((at for at in range(ends - head) if old[-1 - at] != new[-1 - at]), ends - head)
    left, right = old[head : len(old) - tail], new[head : len(new) - tail]
    if _is_quick(left, right):
        middle: list[Step] = list(SequenceMatcher(None, left, right, autojunk=False).get_opcodes())
    elif depth and (anchors := _anchors(left, right)):
        middle = list(_between(anchors, left, right, depth - 1))
    else:
        middle = [("replace", 0, len(left), 0, len(right))]
    found: list[Step] = [("equal", 0, head, 0, head), *_moved(middle, head, head)]
    found.append(("equal", len(old) - tail, len(old), len(new) - tail, len(new)))
    return _merged(found)


def _is_quick(left: list[str], right: list[str]) -> bool:
    """In the worst case SequenceMatcher visits every pair of equal words once for each matching block."""
    again = Counter(right)
    pairs = sum(count * again[word] for word, count in Counter(left).items())
    return pairs * min(len(left), len(right)) <= EFFORT * (len(left) + len(right))


def _anchors(left: list[str], right: list[str]) -> list[tuple[int, int]]:
    """Positions of words that both texts contain exactly once: the longest series in the same order in both."""
    once, also = ({word for word, count in Counter(words).items() if count == 1} for words in (left, right))
    both = once & also
    places = {word: at for at, word in enumerate(right) if word in both}
    pairs = [(at, places[word]) for at, word in enumerate(left) if word in places]
    # Patience sorting: the lowest end of a series of each length so far, and each pair's predecessor in its series.
    lows: list[int] = []
    last: list[int] = []
    before: list[int] = []
    for number, (_, at) in enumerate(pairs):
        length = bisect_left(lows, at)
        lows[length : length + 1], last[length : length + 1] = [at], [number]
        before.append(last[length - 1] if length else -1)
    series: list[tuple[int, int]] = []
    number = last[-1] if last else -1
    while number >= 0:
        series.append(pairs[number])
        number = before[number]
    return series[::-1]


def _between(anchors: list[tuple[int, int]], left: list[str], right: list[str], depth: int) -> Iterator[Step]:
    """The anchors, and the differences between each two of them."""
    i = k = 0
    for j, m in [*anchors, (len(left), len(right))]:
        yield from _moved(_steps(left[i:j], right[k:m], depth), i, k)
        if j < len(left):
            yield "equal", j, j + 1, m, m + 1
        i, k = j + 1, m + 1


def _moved(steps: Iterable[Step], left: int, right: int) -> Iterator[Step]:
    return ((tag, i + left, j + left, k + right, m + right) for tag, i, j, k, m in steps)


def _merged(steps: Iterable[Step]) -> list[Step]:
    """Without empty steps, and with neighbours of the same kind joined."""
    found: list[Step] = []
    for tag, i, j, k, m in steps:
        if i == j and k == m:
            continue
        if found and found[-1][0] == tag:
            _, i_before, _, k_before, _ = found.pop()
            found.append((tag, i_before, j, k_before, m))
        else:
            found.append((tag, i, j, k, m))
    return found


def _joined(words: list[tuple[str, str]]) -> str:
    return "".join(word + space for word, space in words)


def _changed(change: Change, words: list[tuple[str, str]]) -> Iterator[tuple[Change, str]]:
    if words:
        text = _joined(words)
        yield change, text.rstrip()
        # White space after a change belongs to neither side, so that only words are marked.
        yield "same", text[len(text.rstrip()) :] or " "
