"""Paired comparison of runs."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muser.core.errors import EvaluationError
from muser.evals.statistics import adjust, compare, compare_verdicts, holm

WAVE = [math.sin(7 * i) / 4 for i in range(200)]


def keyed(values: Sequence[float]) -> dict[str, float]:
    return {f"e{i:04}": value for i, value in enumerate(values)}


def test_a_steady_gain_over_noisy_examples_is_shown() -> None:
    result = compare(
        keyed([v * 4 for v in WAVE]), keyed([v * 4 + 0.05 + w / 5 for v, w in zip(WAVE, WAVE[::-1], strict=True)])
    )
    assert result.verdict == "higher"
    assert result.difference == pytest.approx(result.second - result.first)
    assert 0 < result.low < result.difference < result.high
    assert result.p < 0.01


def test_exchanging_the_runs_exchanges_the_verdict() -> None:
    first, second = keyed(WAVE), keyed([value - 0.1 for value in WAVE])
    assert compare(first, second).verdict == "lower"
    assert compare(second, first).verdict == "higher"


def test_the_interval_is_near_to_the_normal_one_for_many_pairs() -> None:
    deltas = [0.01 + value for value in WAVE]
    mean = sum(deltas) / len(deltas)
    error = math.sqrt(sum((delta - mean) ** 2 for delta in deltas)) / len(deltas)
    result = compare(keyed([0.0] * len(deltas)), keyed(deltas))
    assert (result.low, result.high) == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=0.2 * error)
    # Two-sided normal p of mean / error.
    assert result.p == pytest.approx(math.erfc(mean / error / math.sqrt(2)), abs=0.03)


def test_noise_is_no_difference() -> None:
    result = compare(keyed([0.5] * 200), keyed([0.5 + value for value in WAVE]))
    assert result.low <= 0 <= result.high
    assert result.verdict == "no difference shown"


def test_identical_runs_differ_by_nothing() -> None:
    result = compare(keyed(WAVE), keyed(WAVE))
    assert (result.difference, result.low, result.high, result.p) == (0, 0, 0, 1)
    assert result.verdict == "no difference shown"


@pytest.mark.parametrize(("n", "p"), [(1, 1.0), (3, 0.25), (5, 2 / 32)])
def test_a_handful_of_pairs_shows_nothing_however_alike_their_gains(n: int, p: float) -> None:
    # All n signs must agree: 2 of 2**n sign patterns.
    result = compare(keyed([0.0] * n), keyed([0.2 + i / 100 for i in range(n)]))
    assert result.low > 0
    assert result.p == pytest.approx(p)
    assert result.verdict == "no difference shown"


def test_six_pairs_that_all_gain_are_enough() -> None:
    result = compare(keyed([0.0] * 6), keyed([0.1] * 6))
    assert result.p == pytest.approx(2 / 64)
    assert result.verdict == "higher"


def test_the_exact_p_counts_sign_patterns_at_least_as_extreme() -> None:
    # Sums of ±1 ±2 ±4 as large as |1 + 2 - 4| = 1: all eight.
    assert compare(keyed([0, 0, 0]), keyed([1, 2, -4])).p == 1.0
    # As large as |-1 + 2 + 4| = 5: 7, 5 and their mirror images.
    assert compare(keyed([0, 0, 0]), keyed([-1, 2, 4])).p == 0.5


def test_examples_without_a_value_on_either_side_are_left_out_and_counted() -> None:
    result = compare({"a": 0.1, "b": None, "c": 0.3, "d": 0.4}, {"a": 0.2, "b": 0.9, "c": 0.5, "e": 1.0})
    assert (result.n, result.left_out) == (2, 3)
    assert (result.first, result.second) == pytest.approx((0.2, 0.35))


def test_runs_without_a_common_example_cannot_be_compared() -> None:
    with pytest.raises(EvaluationError, match="no scored example in common"):
        compare({"a": 0.1, "b": None}, {"b": 0.1, "c": 0.2})
    with pytest.raises(EvaluationError):
        compare_verdicts({}, {})


def test_flipped_verdicts_are_tested_exactly() -> None:
    # One lost, seven gained: 2 * (1 + 8) / 2**8.
    first = {str(i): i == 0 or i >= 8 for i in range(20)}
    second = {str(i): i > 0 for i in range(20)}
    result = compare_verdicts(first, second)
    assert (result.n, result.gained, result.lost) == (20, 7, 1)
    assert result.p == pytest.approx(18 / 256)
    assert result.verdict == "no difference shown"


def test_eight_flips_one_way_are_a_difference() -> None:
    result = compare_verdicts({str(i): False for i in range(8)}, {str(i): True for i in range(8)})
    assert result.p == pytest.approx(2 / 256)
    assert result.verdict == "higher"


def test_a_judge_failure_is_no_flip() -> None:
    result = compare_verdicts({"a": True, "b": None, "c": True}, {"a": True, "b": True, "c": None})
    assert (result.n, result.left_out, result.gained, result.lost, result.p) == (1, 2, 0, 0, 1.0)


def test_holm_multiplies_the_smallest_p_most_and_keeps_their_order() -> None:
    # 3 · 0.01, then 2 · 0.04, and the last not below the one before it.
    assert holm([0.04, 0.01, 0.05]) == pytest.approx([0.08, 0.03, 0.08])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_one_tag_of_many_that_gains_is_not_shown_and_the_reason_is_given() -> None:
    gained = compare(keyed([0.0] * 6), keyed([0.1] * 6))
    alone, same = adjust({"axis:a": gained}), compare(keyed([0.5] * 6), keyed([0.5] * 6))
    assert (alone["axis:a"].verdict, alone["axis:a"].reason) == ("higher", "")
    of_many = adjust({"axis:a": gained} | {f"axis:{name}": same for name in "bcde"})["axis:a"]
    assert of_many.verdict == "no difference shown"
    assert of_many.p_adjusted == pytest.approx(5 * 2 / 64)
    assert of_many.reason == "the permutation test's p is 0.031, 0.16 after Holm's correction over 5 tests"


def test_a_difference_of_the_detectable_size_is_shown_four_times_in_five() -> None:
    rng = np.random.default_rng(3)
    size = compare(keyed([0.0] * 60), keyed(rng.normal(0, 0.3, 60).tolist())).detectable
    assert size is not None
    found = [compare(keyed([0.0] * 60), keyed(rng.normal(size, 0.3, 60).tolist())).verdict for _ in range(60)]
    assert 0.65 < found.count("higher") / 60 < 0.95


deltas = st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=1, max_size=30)
labels = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30)


@given(deltas)
def test_a_comparison_is_repeatable_and_its_verdict_fits_its_numbers(drawn: list[float]) -> None:
    first, second = keyed([0.0] * len(drawn)), keyed(drawn)
    result = compare(first, second)
    assert result == compare(first, second)
    assert 0 < result.p <= 1
    assert result.low <= result.high
    if result.low <= 0 <= result.high or result.p >= 0.05:
        assert result.verdict == "no difference shown"
        assert bool(result.reason) == (not result.low <= 0 <= result.high)
    else:
        assert result.verdict == ("higher" if result.difference > 0 else "lower")


@given(labels)
def test_flips_are_symmetric(drawn: list[tuple[bool, bool]]) -> None:
    first, second = ({str(i): pair[side] for i, pair in enumerate(drawn)} for side in (0, 1))
    there, back = compare_verdicts(first, second), compare_verdicts(second, first)
    assert (there.gained, there.lost, there.p) == (back.lost, back.gained, back.p)
