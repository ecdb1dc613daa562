"""How far judges agree on the same items, beyond chance, with intervals clustered by prompt."""

from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np

from ..core.errors import EvaluationError
from ..core.types import Value
from .intervals import Floats, cluster_weights, interval

Label = Hashable | None
"""A judge's label for an item; None if the judge failed."""

Formula = Callable[[Floats], tuple[Floats, Floats]]
"""Sums of counts, one row a resample → the observed agreement and the agreement beyond chance of each."""


class Agreement(Value):
    """How often judges agree, and agreement beyond chance: 1 is perfect, 0 is what guessing would reach."""

    n: int
    """items that were compared"""
    left_out: int
    """items that a judge gave no verdict on"""
    observed: float
    """share of pairs of verdicts that are equal"""
    beyond_chance: float | None
    """the coefficient; none if all verdicts are the same, since chance would then agree too"""
    low: float | None
    """lower end of its 95 % interval"""
    high: float | None
    """upper end of its 95 % interval"""


def cohen_kappa(
    first: Sequence[Label], second: Sequence[Label], clusters: Sequence[Hashable] | None = None
) -> Agreement:
    """Agreement of two judges on the same items (Cohen 1960)."""
    rows = [row for row in zip(first, second, clusters or range(len(first)), strict=True) if None not in row[:2]]
    _require(len(rows), "no item was judged by both judges")
    known = _numbered(label for *row, _ in rows for label in row)
    counts = np.zeros((len(rows), len(known), len(known)))
    for place, (a, b, _) in enumerate(rows):
        counts[place, known[a], known[b]] = 1

    def formula(sums: Floats) -> tuple[Floats, Floats]:
        tables = sums.reshape(-1, len(known), len(known))
        n = tables.sum(axis=(1, 2))
        observed = np.trace(tables, axis1=1, axis2=2) / n
        return observed, _beyond(observed, (tables.sum(axis=1) * tables.sum(axis=2)).sum(axis=1) / n**2)

    return _measure(counts.reshape(len(rows), -1), [row[2] for row in rows], formula, len(first) - len(rows))


def fleiss_kappa(items: Sequence[Sequence[Label]], clusters: Sequence[Hashable] | None = None) -> Agreement:
    """Agreement of several judges; one row of labels per item (Fleiss 1971). Leaves out items that a judge missed."""
    kept = [(row, of) for row, of in zip(items, clusters or range(len(items)), strict=True) if None not in row]
    _require(len(kept), "no item was judged by every judge")
    judges = len(kept[0][0])
    if judges < 2 or any(len(row) != judges for row, _ in kept):
        raise ValueError("every item needs the same number of labels, at least two")
    counts = _label_counts([row for row, _ in kept])
    equal = (counts * (counts - 1)).sum(axis=1, keepdims=True) / (judges * (judges - 1))

    def formula(sums: Floats) -> tuple[Floats, Floats]:
        total = sums[:, 1:].sum(axis=1)
        observed = sums[:, 0] * judges / total
        return observed, _beyond(observed, ((sums[:, 1:] / total[:, None]) ** 2).sum(axis=1))

    return _measure(np.hstack([equal, counts]), [of for _, of in kept], formula, len(items) - len(kept))


def krippendorff_alpha(items: Sequence[Sequence[Label]], clusters: Sequence[Hashable] | None = None) -> Agreement:
    """Agreement of several judges where some miss items; one row of labels per item (Krippendorff 2004, nominal)."""
    kept = [
        ([label for label in row if label is not None], of)
        for row, of in zip(items, clusters or range(len(items)), strict=True)
        if len(row) - list(row).count(None) > 1
    ]
    _require(len(kept), "no item was judged by two judges")
    counts = _label_counts([row for row, _ in kept])
    judges = counts.sum(axis=1, keepdims=True)
    equal = (counts * (counts - 1) / (judges - 1)).sum(axis=1, keepdims=True)

    def formula(sums: Floats) -> tuple[Floats, Floats]:
        labels = sums[:, 1:]
        total = labels.sum(axis=1)
        observed = sums[:, 0] / total
        return observed, _beyond(observed, (labels * (labels - 1)).sum(axis=1) / (total * (total - 1)))

    return _measure(np.hstack([equal, counts]), [of for _, of in kept], formula, len(items) - len(kept))


def _measure(counts: Floats, clusters: Sequence[Hashable], formula: Formula, left_out: int) -> Agreement:
    """The formula on the summed counts of all items, and its interval over resampled clusters."""
    number = _numbered(clusters)
    sums = np.zeros((len(number), counts.shape[1]))
    np.add.at(sums, [number[of] for of in clusters], counts)
    observed, beyond = formula(sums.sum(axis=0, keepdims=True))
    low = high = None
    if len(number) > 1 and np.isfinite(beyond[0]):
        resampled = formula(cluster_weights(len(number)) @ sums)[1]
        low, high = interval(resampled[np.isfinite(resampled)], len(number))
    value = float(beyond[0]) if np.isfinite(beyond[0]) else None
    return Agreement(
        n=len(counts), left_out=left_out, observed=float(observed[0]), beyond_chance=value, low=low, high=high
    )


def _beyond(observed: Floats, chance: Floats) -> Floats:
    certain = chance >= 1 - 1e-12
    found: Floats = np.where(certain, np.nan, (observed - chance) / np.where(certain, 1, 1 - chance))
    return found


def _label_counts(rows: Sequence[Sequence[Label]]) -> Floats:
    known = _numbered(label for row in rows for label in row)
    counts = np.zeros((len(rows), len(known)))
    for place, row in enumerate(rows):
        for label in row:
            counts[place, known[label]] += 1
    return counts


def _numbered(labels: Iterable[Hashable]) -> dict[Hashable, int]:
    return {label: place for place, label in enumerate(dict.fromkeys(labels))}


def _require(n: int, otherwise: str) -> None:
    if n == 0:
        raise EvaluationError(otherwise, todo="compare judges of the same answers, and check for failed judge calls")
