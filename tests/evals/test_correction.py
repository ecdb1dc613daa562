"""Scores corrected by people's labels."""

import numpy as np
import pytest

from muser.evals.correction import PromptCounts, correct


def judged(rng: np.random.Generator, *, prompts: int, labelled: int, truth: float) -> list[PromptCounts]:
    """Ten items of one point for each prompt; the judge has a sensitivity of 0.9 and a specificity of 0.6."""
    found = []
    for number in range(prompts):
        met = rng.random(10) < rng.beta(4 * truth, 4 * (1 - truth))
        seen = rng.random(10) < np.where(met, 0.9, 0.4)
        counts = (met.sum(), (met & seen).sum(), (~met).sum(), (~met & ~seen).sum()) if number < labelled else (0,) * 4
        found.append(PromptCounts(1, seen.mean(), 1.0, *(int(count) for count in counts)))
    return found


def test_the_textbook_correction_of_a_share() -> None:
    # Met for the judge: 0.55 of all. Sensitivity 0.9, specificity 0.8: (0.55 + 0.8 - 1) / (0.9 + 0.8 - 1) = 0.5.
    found = correct([PromptCounts(1, 0.55, 1.0, 10, 9, 10, 8)])
    assert found.corrected == pytest.approx(0.5)
    assert found.raw == pytest.approx(0.55)
    assert found.sensitivity is not None
    assert (found.sensitivity.share, found.sensitivity.n) == (0.9, 10)


def test_a_judge_at_chance_and_labels_of_one_kind_correct_nothing() -> None:
    assert correct([PromptCounts(1, 0.5, 1.0, 10, 5, 10, 5)]).corrected is None
    alone = correct([PromptCounts(1, 0.5, 1.0, 10, 5, 0, 0)])
    assert (alone.corrected, alone.specificity) == (None, None)


def test_intervals_of_corrected_scores_cover_the_truth_nineteen_times_in_twenty() -> None:
    rng, covered = np.random.default_rng(5), 0
    for _ in range(300):
        found = correct(judged(rng, prompts=120, labelled=60, truth=0.6))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.6 <= found.high
        assert found.raw > 0.6
    assert 0.92 <= covered / 300 <= 0.98
