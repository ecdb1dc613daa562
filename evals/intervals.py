"""95 % intervals of means and shares: resampled by prompt, since repeats of a prompt are not independent."""

from collections.abc import Hashable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..core.types import Value

LEVEL = 0.05
RESAMPLES = 1_000
"""Bootstrap resamples of a score, as in simple-evals."""

CELLS = 2_000_000
"""Numbers drawn at once, so that memory does not grow with the number of resamples."""

Floats = NDArray[np.float64]


class Spread(Value):
    """The bootstrap standard deviation of a mean, and its 95 % interval."""

    std: float
    low: float
    high: float


def spread(values: Sequence[tuple[Hashable, float]], *, seed: int = 0) -> Spread:
    """The spread of the mean, clipped to [0, 1], of (prompt, score) pairs.

    The standard deviation resamples answers, as simple-evals does; the interval resamples prompts. The order of the
    values does not matter, so the order in which examples finish does not either.
    """
    ordered = np.sort(np.array([value for _, value in values], float))
    means = np.clip(resampled_ratios(ordered, np.ones(len(ordered)), RESAMPLES, seed), 0, 1)
    sums, counts = by_cluster(values)
    clustered = means if len(sums) == len(values) else np.clip(resampled_ratios(sums, counts, RESAMPLES, seed), 0, 1)
    low, high = interval(clustered, len(sums)) if len(sums) > 1 else (0.0, 1.0)
    return Spread(std=float(means.std()), low=low, high=high)


def by_cluster(values: Sequence[tuple[Hashable, float]]) -> tuple[Floats, Floats]:
    """The sum and the number of each cluster's values, in an order that depends on the values only."""
    sums: dict[Hashable, list[float]] = {}
    for cluster, value in values:
        sums.setdefault(cluster, []).append(value)
    pairs = np.array(sorted((float(np.sum(np.sort(one))), len(one)) for one in sums.values()), float)
    return pairs[:, 0], pairs[:, 1]


def resampled_ratios(sums: Floats, counts: Floats, resamples: int, seed: int) -> Floats:
    """The mean of each bootstrap resample of clusters: the sum of its values over their number."""
    rng, n = np.random.default_rng(seed), len(sums)
    equal = bool((counts == counts[0]).all())

    def ratios(rows: int) -> Floats:
        drawn = rng.integers(0, n, (rows, n), np.int32)
        found: Floats = sums[drawn].mean(axis=1) / counts[0] if equal else sums[drawn].sum(1) / counts[drawn].sum(1)
        return found

    return np.concatenate([ratios(rows) for rows in chunks(resamples, n)])


def cluster_weights(n: int, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """How often each bootstrap resample draws each of `n` clusters: one row a resample."""
    rng = np.random.default_rng(seed)
    return np.stack([np.bincount(rng.integers(0, n, n), minlength=n).astype(float) for _ in range(resamples)])


def interval(resampled: Floats, n: int) -> tuple[float, float]:
    """The 95 % percentile interval of a resampled statistic of `n` clusters.

    With few clusters plain percentiles are too narrow: they are widened as Student's t is wider than the normal
    distribution (Hesterberg 2015, expanded percentiles).
    """
    from scipy.special import ndtr, stdtrit

    level = LEVEL / 2 if n < 2 else float(ndtr(np.sqrt(n / (n - 1)) * stdtrit(n - 1, LEVEL / 2)))
    return float(np.quantile(resampled, level)), float(np.quantile(resampled, 1 - level))


def share_interval(met: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share; unlike a bootstrap's it has a width where all or none are met."""
    from scipy.stats import binomtest

    found = binomtest(met, n).proportion_ci(1 - LEVEL, method="wilson")
    return float(found.low), float(found.high)


def detectable(deltas: Floats) -> float | None:
    """The least difference of means that pairs like these show four times in five; None for a single pair."""
    from scipy.special import stdtrit

    n = len(deltas)
    if n < 2:
        return None
    reach = stdtrit(n - 1, 1 - LEVEL / 2) + stdtrit(n - 1, 0.8)
    return float(reach * deltas.std(ddof=1) / np.sqrt(n))


def chunks(resamples: int, n: int) -> Iterator[int]:
    """Numbers of resamples that are drawn at once."""
    step = max(1, CELLS // n)
    return (min(step, resamples - start) for start in range(0, resamples, step))
