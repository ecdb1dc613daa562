"""Statistics of scores: bootstrap spread, paired comparison of two runs, agreement between judges."""

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import product
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..core.comparison import Difference, Direction, Flips
from ..core.errors import EvaluationError
from ..core.types import Value

RESAMPLES = 1_000
"""Bootstrap resamples of a score, as in simple-evals."""

PAIRED_RESAMPLES = 4_000
CELLS = 2_000_000
"""Numbers drawn at once, so that memory does not grow with the number of resamples."""

LEVEL = 0.05

T = TypeVar("T")

Label = Hashable | None
"""A judge's label for an item; None if the judge failed."""


class Agreement(Value):
    """How often judges agree, and agreement beyond chance (kappa; None if chance agreement is 1)."""

    n: int
    left_out: int
    observed: float
    kappa: float | None


def spread(values: Sequence[float], *, seed: int = 0) -> tuple[float, float, float]:
    """Bootstrap standard deviation and 95 % percentile interval of the mean clipped to [0, 1].

    The order of the values does not matter, so the order in which examples finish does not either.
    """
    means = np.clip(_resampled_means(np.sort(np.asarray(values, float)), RESAMPLES, seed), 0, 1)
    return float(means.std()), *_interval(means)


def compare(first: Mapping[str, float | None], second: Mapping[str, float | None], *, seed: int = 0) -> Difference:
    """Paired difference of means (not clipped) between two runs' values by example.

    The interval is a percentile bootstrap over pairs; p is from a sign-flip permutation test (exact for few pairs).
    A difference counts as shown only if both agree: with few pairs, a bootstrap interval alone is too narrow.
    Raises EvaluationError if no example has a value in both.
    """
    pairs, left_out = _pairs(first, second)
    a, b = (np.array(column, float) for column in zip(*pairs, strict=True))
    deltas = np.sort(b - a)
    low, high = _interval(_resampled_means(deltas, PAIRED_RESAMPLES, seed))
    p = _sign_flip_p(deltas, seed)
    shown = p < LEVEL and not low <= 0 <= high
    return Difference(
        n=len(pairs),
        left_out=left_out,
        first=float(a.mean()),
        second=float(b.mean()),
        difference=float(deltas.mean()),
        low=low,
        high=high,
        p=p,
        verdict=_direction(shown, float(deltas.mean())),
    )


def compare_verdicts(first: Mapping[str, bool | None], second: Mapping[str, bool | None]) -> Flips:
    """McNemar's exact test on the flipped verdicts. Raises EvaluationError if no item has a verdict in both."""
    pairs, left_out = _pairs(first, second)
    gained = sum(not a and b for a, b in pairs)
    lost = sum(a and not b for a, b in pairs)
    return judge_flips(len(pairs), left_out, gained=gained, lost=lost)


def judge_flips(n: int, left_out: int, *, gained: int, lost: int) -> Flips:
    """`compare_verdicts` for verdicts that are already counted."""
    p = _mcnemar_p(gained, lost)
    verdict = _direction(p < LEVEL, gained - lost)
    return Flips(n=n, left_out=left_out, gained=gained, lost=lost, p=p, verdict=verdict)


def cohen_kappa(first: Sequence[Label], second: Sequence[Label]) -> Agreement:
    """Agreement of two judges on the same items (Cohen 1960). Items without both labels are left out and counted."""
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    _require(len(pairs), "no item was judged by both judges")
    of_first, of_second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    observed = sum(a == b for a, b in pairs) / len(pairs)
    chance = sum(of_first[label] * of_second[label] for label in of_first) / len(pairs) ** 2
    return _agreement(len(pairs), len(first) - len(pairs), observed, chance)


def fleiss_kappa(items: Sequence[Sequence[Label]]) -> Agreement:
    """Agreement of several judges; one row of labels per item (Fleiss 1971). Leaves out items that a judge missed."""
    judged = [row for row in items if None not in row]
    _require(len(judged), "no item was judged by every judge")
    judges = len(judged[0])
    if judges < 2 or any(len(row) != judges for row in judged):
        raise ValueError("every item needs the same number of labels, at least two")
    # Pairs of judges that agree on an item, over all pairs of judges.
    counts = [Counter(row) for row in judged]
    observed = sum(sum(k * (k - 1) for k in c.values()) for c in counts) / (len(counts) * judges * (judges - 1))
    total = Counter(label for row in judged for label in row)
    chance = sum((k / (len(judged) * judges)) ** 2 for k in total.values())
    return _agreement(len(judged), len(items) - len(judged), observed, chance)


def _agreement(n: int, left_out: int, observed: float, chance: float) -> Agreement:
    kappa = None if chance >= 1 else (observed - chance) / (1 - chance)
    return Agreement(n=n, left_out=left_out, observed=observed, kappa=kappa)


def _pairs(first: Mapping[str, T | None], second: Mapping[str, T | None]) -> tuple[list[tuple[T, T]], int]:
    """Pairs of values for keys that both sides have, in key order, and the number of keys left out."""
    pairs = []
    for key in sorted(first.keys() & second.keys()):
        a, b = first[key], second[key]
        if a is not None and b is not None:
            pairs.append((a, b))
    _require(len(pairs), "the two runs have no scored example in common")
    return pairs, len(first.keys() | second.keys()) - len(pairs)


def _require(n: int, otherwise: str) -> None:
    if n == 0:
        raise EvaluationError(otherwise, todo="compare runs over the same examples, and check for failed judge calls")


def _direction(shown: bool, change: float) -> Direction:
    if not shown:
        return "no difference shown"
    return "higher" if change > 0 else "lower"


def _resampled_means(values: NDArray[np.float64], resamples: int, seed: int) -> NDArray[np.float64]:
    rng, n = np.random.default_rng(seed), len(values)
    means = [values[rng.integers(0, n, (rows, n), np.int32)].mean(axis=1) for rows in _chunks(resamples, n)]
    return np.concatenate(means)


def _interval(means: NDArray[np.float64]) -> tuple[float, float]:
    return float(np.quantile(means, LEVEL / 2)), float(np.quantile(means, 1 - LEVEL / 2))


def _mcnemar_p(gained: int, lost: int) -> float:
    """Two-sided binomial p of the flips, if either direction is equally likely."""
    # In integers, which is exact and avoids importing scipy (2 s).
    flips, fewer = gained + lost, min(gained, lost)
    ways = reached = 1
    for heads in range(fewer):
        ways = ways * (flips - heads) // (heads + 1)
        reached += ways
    return min(1.0, 2 * reached / (1 << flips))


def _sign_flip_p(deltas: NDArray[np.float64], seed: int) -> float:
    """How often the differences, with random signs, have a sum at least as large as the observed one."""
    deltas = deltas[deltas != 0]
    n, total = len(deltas), float(deltas.sum())
    # Sums that differ only by rounding must count as equal.
    bar = abs(total) - 1e-9 * float(np.abs(deltas).sum())
    if 2**n <= PAIRED_RESAMPLES:
        signs = np.array(list(product((1.0, -1.0), repeat=n)))
        return float(np.mean(np.abs(signs @ deltas) >= bar))
    rng, reached = np.random.default_rng(seed), 0
    for rows in _chunks(PAIRED_RESAMPLES, n):
        flipped = np.unpackbits(rng.integers(0, 256, (rows, n // 8 + 1), np.uint8), axis=1, count=n)
        reached += int(np.sum(np.abs(total - 2 * (flipped.astype(float) @ deltas)) >= bar))
    return (reached + 1) / (PAIRED_RESAMPLES + 1)


def _chunks(resamples: int, n: int) -> Iterator[int]:
    step = max(1, CELLS // n)
    return (min(step, resamples - start) for start in range(0, resamples, step))
