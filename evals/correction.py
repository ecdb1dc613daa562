"""A judge's sensitivity and specificity against people's labels, and the score that they correct (Rogan and Gladen)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..core.types import Value
from .intervals import Floats, cluster_weights, interval, share_interval


class Share(Value):
    """A share of items with its 95 % interval (Wilson)."""

    share: float
    """the share, from 0 to 1"""
    n: int
    """items"""
    low: float
    high: float


class Corrected(Value):
    """A score as it would be if the judge made no mistakes of the kind that people's labels show."""

    raw: float
    """the judge's own score, over the answers that it judged completely"""
    corrected: float | None
    """none if the judge does no better than chance, or the labels have only one verdict"""
    low: float | None
    """lower end of its 95 % interval, which carries the judge's error"""
    high: float | None
    """upper end of its 95 % interval"""
    sensitivity: Share | None
    """share of the items met for people that are met for the judge; none without such items"""
    specificity: Share | None
    """share of the items not met for people that are not met for the judge; none without such items"""


class PromptCounts(NamedTuple):
    """One prompt's answers and labels, as sums.

    A score is linear in the verdicts: `earned` is the points met over the positive points, `base` all points over the
    positive points. `met` and `unmet` count the labelled items, `hits` and `rejections` those with the judge's consent.
    """

    answers: int
    earned: float
    base: float
    met: int
    hits: int
    unmet: int
    rejections: int


def correct(prompts: Sequence[PromptCounts]) -> Corrected:
    """The corrected score, and its interval over resampled prompts, whose labels and scores are drawn together."""
    sums = np.array(prompts, float).reshape(-1, len(PromptCounts._fields))
    total = sums.sum(axis=0, keepdims=True)
    value = _corrected(total)[0]
    low = high = None
    if np.isfinite(value) and len(sums) > 1:
        found = _corrected(cluster_weights(len(sums)) @ sums)
        low, high = interval(found[np.isfinite(found)], len(sums))
    answers = sum(one.answers for one in prompts)
    return Corrected(
        raw=float(np.clip(total[0, 1] / answers, 0, 1)) if answers else 0.0,
        corrected=float(value) if np.isfinite(value) else None,
        low=low,
        high=high,
        sensitivity=_share(sum(one.hits for one in prompts), sum(one.met for one in prompts)),
        specificity=_share(sum(one.rejections for one in prompts), sum(one.unmet for one in prompts)),
    )


def _corrected(sums: Floats) -> Floats:
    """The clipped corrected mean of each row of summed counts; not a number where it is undefined."""
    answers, earned, base, met, hits, unmet, rejections = sums.T
    with np.errstate(divide="ignore", invalid="ignore"):
        sensitivity, specificity = hits / met, rejections / unmet
        beyond = sensitivity + specificity - 1
        found: Floats = np.clip((earned + (specificity - 1) * base) / answers / beyond, 0, 1)
    return np.where(beyond > 0, found, np.nan)


def _share(part: int, n: int) -> Share | None:
    if not n:
        return None
    low, high = share_interval(part, n)
    return Share(share=part / n, n=n, low=low, high=high)
