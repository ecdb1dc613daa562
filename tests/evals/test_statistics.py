"""Paired comparison of runs, and agreement between judges."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muser.core.errors import EvaluationError
from muser.evals.statistics import cohen_kappa, compare, compare_verdicts, fleiss_kappa, spread

WAVE = [math.sin(7 * i) / 4 for i in range(200)]


def keyed(values: Sequence[float]) -> dict[str, float]:
    return {f"e{i:04}": value for i, value in enumerate(values)}


def test_a_constant_has_no_spread() -> None:
    assert spread([0.4] * 30) == pytest.approx((0.0, 0.4, 0.4), abs=1e-12)


def test_the_bootstrap_deviation_comes_near_to_the_standard_error() -> None:
    inside = [0.5 + value for value in WAVE]
    mean = sum(inside) / len(inside)
    expected = math.sqrt(sum((value - mean) ** 2 for value in inside)) / len(inside)
    std, low, high = spread(inside)
    assert std == pytest.approx(expected, rel=0.1)
    assert (low, high) == pytest.approx((mean - 1.96 * expected, mean + 1.96 * expected), abs=0.2 * expected)


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


def test_cohen_kappa_of_a_textbook_table() -> None:
    # 20 both yes, 15 both no, 5 and 10 apart: observed 0.7, chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5.
    pairs = [(True, True)] * 20 + [(True, False)] * 5 + [(False, True)] * 10 + [(False, False)] * 15
    result = cohen_kappa([a for a, _ in pairs], [b for _, b in pairs])
    assert result.n == 50
    assert result.observed == pytest.approx(0.7)
    assert result.kappa == pytest.approx(0.4)


def test_fleiss_kappa_of_the_published_table() -> None:
    # Ten items, fourteen judges, five categories; the usual worked example gives 0.210.
    table = [
        (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
        (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
    ]  # fmt: skip
    items = [[label for label, count in enumerate(row) for _ in range(count)] for row in table]
    result = fleiss_kappa(items)
    assert result.observed == pytest.approx(0.378, abs=5e-4)
    assert result.kappa == pytest.approx(0.210, abs=5e-4)


def test_agreement_leaves_out_what_a_judge_did_not_judge() -> None:
    assert cohen_kappa([True, None, False], [True, True, None]).left_out == 2
    assert fleiss_kappa([[True, True, False], [True, None, True], [False, False, True]]).left_out == 1
    with pytest.raises(EvaluationError):
        cohen_kappa([None], [True])
    with pytest.raises(EvaluationError):
        fleiss_kappa([[None, True]])


def test_kappa_is_undefined_when_there_is_only_one_label() -> None:
    result = cohen_kappa(["pass"] * 4, ["pass"] * 4)
    assert (result.observed, result.kappa) == (1.0, None)
    assert fleiss_kappa([["pass"] * 3] * 4).kappa is None


def test_rows_of_different_numbers_of_judges_are_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="same number of labels"):
        fleiss_kappa([[True, True], [True, True, False]])


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
    else:
        assert result.verdict == ("higher" if result.difference > 0 else "lower")


@given(labels)
def test_flips_are_symmetric(drawn: list[tuple[bool, bool]]) -> None:
    first, second = ({str(i): pair[side] for i, pair in enumerate(drawn)} for side in (0, 1))
    there, back = compare_verdicts(first, second), compare_verdicts(second, first)
    assert (there.gained, there.lost, there.p) == (back.lost, back.gained, back.p)


@given(labels)
def test_kappa_is_at_most_one_and_one_only_in_full_agreement(drawn: list[tuple[bool, bool]]) -> None:
    result = cohen_kappa([a for a, _ in drawn], [b for _, b in drawn])
    if result.kappa is not None:
        assert result.kappa <= 1
        assert (result.kappa == 1) == (result.observed == 1)
