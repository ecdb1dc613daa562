"""Two runs compared: how their matching samples differ, and whether the differences exceed chance."""

from typing import Literal

from .types import Value, Verdict

Direction = Literal["higher", "lower", "no difference shown"]


class Difference(Value):
    """Second minus first over pairs, with a 95 % interval and a two-sided p; `left_out` counts keys without a pair."""

    n: int
    left_out: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float
    p_adjusted: float
    """p after Holm's correction over all tags that were tested together"""
    detectable: float | None
    """the least difference that pairs like these show four times in five; none for a single pair"""
    verdict: Direction
    reason: str = ""
    """why no difference is shown although the interval excludes 0"""


class Flips(Value):
    """Verdicts that changed between two runs: `gained` became true, `lost` became false."""

    n: int
    left_out: int
    gained: int
    lost: int
    p: float
    verdict: Direction


class Flip(Value):
    """One critic's last verdict on a sample of the first run and on its match."""

    critic: str
    before: Verdict
    after: Verdict


class Pair(Value):
    """Two matching samples, by their ids. `length` is the length of each final answer in characters.

    `changed` is the share of both answers' words that the other answer lacks, regardless of position: 0 means the same
    words, 1 no word in common.
    """

    first: str
    second: str
    flips: tuple[Flip, ...]
    length: tuple[int, int]
    changed: float


class Comparison(Value):
    """What differs between two runs.

    `changes` lists the differences between their recipes. Of the `matched` samples, those done in both runs are
    `compared`. `same_query`, `same_answer` and `verdicts` (true means pass) cover all of them. `length` (characters of
    the final answer), `tokens` (of the roles that both runs called, reused calls included) and `changed` (the mean, as
    in Pair) cover `measured` of them, evenly spaced. `look_first` lists the pairs with the most flips, then those
    whose words changed most.
    """

    first: str
    second: str
    changes: tuple[str, ...]
    samples: tuple[int, int]
    matched: int
    compared: int
    done_only: tuple[int, int]
    same_query: int
    same_answer: int
    verdicts: dict[str, Flips]
    measured: int
    length: Difference | None
    tokens: Difference | None
    changed: float
    look_first: tuple[Pair, ...]
