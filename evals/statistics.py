"""Paired comparison of two runs: differences of means, flipped verdicts, and tests for them."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..core.comparison import Difference, Direction, Flips
from ..core.errors import EvaluationError
from .intervals import LEVEL, chunks, detectable, interval, resampled_ratios

PAIRED_RESAMPLES = 4_000

T = TypeVar("T")


def compare(first: Mapping[str, float | None], second: Mapping[str, float | None], *, seed: int = 0) -> Difference:
    """Paired difference of means (not clipped) between two runs' values by example.

    The interval is a bootstrap over pairs; p is from a sign-flip permutation test (exact for few pairs). A difference
    counts as shown only if both agree: with few pairs, a bootstrap interval alone is too narrow.
    Raises EvaluationError if no example has a value in both.
    """
    pairs, left_out = _pairs(first, second)
    a, b = (np.array(column, float) for column in zip(*pairs, strict=True))
    deltas = np.sort(b - a)
    low, high = interval(resampled_ratios(deltas, np.ones(len(deltas)), PAIRED_RESAMPLES, seed), len(deltas))
    p = _sign_flip_p(deltas, seed)
    found = Difference(
        n=len(pairs),
        left_out=left_out,
        first=float(a.mean()),
        second=float(b.mean()),
        difference=float(deltas.mean()),
        low=low,
        high=high,
        p=p,
        p_adjusted=p,
        detectable=detectable(deltas),
        verdict="no difference shown",
    )
    return found.model_copy(update=_judged(found, p))


def adjust(found: Mapping[str, Difference]) -> dict[str, Difference]:
    """The differences with Holm's correction: many tags are tested, and one in twenty would differ by chance."""
    adjusted = holm([one.p for one in found.values()])
    return {
        name: one.model_copy(update={"p_adjusted": p} | _judged(one, p, tests=len(found)))
        for (name, one), p in zip(found.items(), adjusted, strict=True)
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values multiplied so that all of them below 0.05 are chance in at most 5 % of families (Holm 1979)."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, least = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = least
    return adjusted


def _judged(found: Difference, p: float, tests: int = 1) -> dict[str, str]:
    """The verdict, and why an interval that excludes 0 is not enough for one."""
    excludes = not found.low <= 0 <= found.high
    shown = p < LEVEL and excludes
    reason = ""
    if excludes and not shown:
        reason = f"the permutation test's p is {found.p:.2g}"
        reason += f", {p:.2g} after Holm's correction over {tests} tests" if tests > 1 else f" with {found.n} pairs"
    return {"verdict": _direction(shown, found.difference), "reason": reason}


def compare_verdicts(first: Mapping[str, bool | None], second: Mapping[str, bool | None]) -> Flips:
    """McNemar's exact test on the flipped verdicts. Raises EvaluationError if no item has a verdict in both."""
    pairs, left_out = _pairs(first, second)
    gained = sum(not a and b for a, b in pairs)
    lost = sum(a and not b for a, b in pairs)
    return judge_flips(len(pairs), left_out, gained=gained, lost=lost)


def judge_flips(n: int, left_out: int, *, gained: int, lost: int) -> Flips:
    """`compare_verdicts` for verdicts that are already counted."""
    from scipy.special import bdtr

    # Two-sided binomial p of the flips, if either direction is equally likely.
    p = min(1.0, 2 * float(bdtr(min(gained, lost), gained + lost, 0.5)))
    verdict = _direction(p < LEVEL, gained - lost)
    return Flips(n=n, left_out=left_out, gained=gained, lost=lost, p=p, verdict=verdict)


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
    for rows in chunks(PAIRED_RESAMPLES, n):
        flipped = np.unpackbits(rng.integers(0, 256, (rows, n // 8 + 1), np.uint8), axis=1, count=n)
        reached += int(np.sum(np.abs(total - 2 * (flipped.astype(float) @ deltas)) >= bar))
    return (reached + 1) / (PAIRED_RESAMPLES + 1)
