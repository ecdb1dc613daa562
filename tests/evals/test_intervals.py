"""Intervals of means and shares, among them how often they cover the truth."""

import math

import numpy as np
import pytest

from muser.evals.intervals import share_interval, spread

WAVE = [math.sin(7 * i) / 4 for i in range(200)]


def of_prompts(values: list[float]) -> list[tuple[int, float]]:
    return list(enumerate(values))


def test_a_constant_has_no_spread() -> None:
    found = spread(of_prompts([0.4] * 30))
    assert (found.std, found.low, found.high) == pytest.approx((0.0, 0.4, 0.4), abs=1e-12)


def test_the_bootstrap_deviation_comes_near_to_the_standard_error() -> None:
    inside = [0.5 + value for value in WAVE]
    mean = sum(inside) / len(inside)
    expected = math.sqrt(sum((value - mean) ** 2 for value in inside)) / len(inside)
    found = spread(of_prompts(inside))
    assert found.std == pytest.approx(expected, rel=0.1)
    assert (found.low, found.high) == pytest.approx(
        (mean - 1.96 * expected, mean + 1.96 * expected), abs=0.2 * expected
    )


def test_repeats_of_the_same_prompts_do_not_narrow_an_interval() -> None:
    once = spread(of_prompts([0.5 + value for value in WAVE]))
    repeated = spread([pair for pair in of_prompts([0.5 + value for value in WAVE]) for _ in range(4)])
    assert (repeated.low, repeated.high) == pytest.approx((once.low, once.high), abs=0.003)
    # simple-evals counts every answer.
    assert repeated.std == pytest.approx(once.std / 2, rel=0.15)


def test_one_prompt_says_nothing_about_others() -> None:
    assert (spread([("a", 0.4), ("a", 0.5)]).low, spread([("a", 0.4), ("a", 0.5)]).high) == (0.0, 1.0)


@pytest.mark.parametrize(("prompts", "repeats"), [(15, 1), (60, 1), (60, 3)])
def test_intervals_cover_the_true_mean_nineteen_times_in_twenty(prompts: int, repeats: int) -> None:
    rng, trials, covered = np.random.default_rng(7), 1_000, 0
    for trial in range(trials):
        # Scores as HealthBench has them: skewed, some below 0, and prompts that differ more than their repeats.
        of_prompt = rng.beta(2, 1.2, prompts) * 1.4 - 0.4
        answers = np.repeat(of_prompt, repeats) + rng.normal(0, 0.1, prompts * repeats)
        found = spread([(n // repeats, value) for n, value in enumerate(answers)], seed=trial)
        covered += found.low <= 1.4 * 2 / 3.2 - 0.4 <= found.high
    assert 0.93 <= covered / trials <= 0.97


def test_wilsons_interval_of_a_textbook_share_has_a_width_where_none_is_met() -> None:
    assert share_interval(4, 10) == pytest.approx((0.168, 0.687), abs=5e-4)
    assert share_interval(0, 10) == pytest.approx((0.0, 0.278), abs=5e-4)
