"""Two runs side by side: what became of the samples that match, and whether what changed is more than chance."""

from typing import Literal

from .types import Value, Verdict

Direction = Literal["higher", "lower", "no difference shown"]


class Difference(Value):
    """Second minus first over pairs, with a 95 % interval and a two-sided p; `left_out` keys lack a pair or a value."""

    n: int
    left_out: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float
    verdict: Direction


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
    """Two samples that match, by their ids. `length` is of their final answers, in characters.

    `changed` is the share of both answers' words that the other one lacks, wherever they stand: 0 the same, 1 no word
    in common.
    """

    first: str
    second: str
    flips: tuple[Flip, ...]
    length: tuple[int, int]
    changed: float


class Comparison(Value):
    """What differs between two runs.

    `changes` are the differences of their recipes. Of the `matched` samples, those done in both are `compared`: on all
    of them `same_query`, `same_answer` and `verdicts` (true is pass) count, while `length` (characters of the final
    answer), `tokens` (of the roles that both called, reused calls included) and `changed` (the mean, as in Pair) are
    taken from `measured` of them, drawn evenly. `look_first` has the pairs with the most flips, then those whose words
    changed most.
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
