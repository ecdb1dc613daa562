"""Agreement between judges."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muser.core.errors import EvaluationError
from muser.evals.agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha


def test_cohen_kappa_of_a_textbook_table() -> None:
    # 20 both yes, 15 both no, 5 and 10 apart: observed 0.7, chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5.
    pairs = [(True, True)] * 20 + [(True, False)] * 5 + [(False, True)] * 10 + [(False, False)] * 15
    result = cohen_kappa([a for a, _ in pairs], [b for _, b in pairs])
    assert result.n == 50
    assert result.observed == pytest.approx(0.7)
    assert result.beyond_chance == pytest.approx(0.4)


def test_fleiss_kappa_of_the_published_table() -> None:
    # Ten items, fourteen judges, five categories; the usual worked example gives 0.210.
    table = [
        (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
        (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
    ]  # fmt: skip
    items = [[label for label, count in enumerate(row) for _ in range(count)] for row in table]
    result = fleiss_kappa(items)
    assert result.observed == pytest.approx(0.378, abs=5e-4)
    assert result.beyond_chance == pytest.approx(0.210, abs=5e-4)


def test_agreement_leaves_out_what_a_judge_did_not_judge() -> None:
    assert cohen_kappa([True, None, False], [True, True, None]).left_out == 2
    assert fleiss_kappa([[True, True, False], [True, None, True], [False, False, True]]).left_out == 1
    with pytest.raises(EvaluationError):
        cohen_kappa([None], [True])
    with pytest.raises(EvaluationError):
        fleiss_kappa([[None, True]])


def test_kappa_is_undefined_when_there_is_only_one_label() -> None:
    result = cohen_kappa(["pass"] * 4, ["pass"] * 4)
    assert (result.observed, result.beyond_chance) == (1.0, None)
    assert fleiss_kappa([["pass"] * 3] * 4).beyond_chance is None


def test_rows_of_different_numbers_of_judges_are_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="same number of labels"):
        fleiss_kappa([[True, True], [True, True, False]])


def test_krippendorff_alpha_of_the_published_table() -> None:
    # Krippendorff's worked example: four observers, twelve units, missing values; nominal alpha 0.743.
    rows: list[list[int | None]] = [
        [1, 1, None, 1], [2, 2, 3, 2], [3, 3, 3, 3], [3, 3, 3, 3], [2, 2, 2, 2], [1, 2, 3, 4],
        [4, 4, 4, 4], [1, 1, 2, 1], [2, 2, 2, 2], [None, 5, 5, 5], [None, None, 1, 1], [None, None, 3, None],
    ]  # fmt: skip
    result = krippendorff_alpha(rows)
    assert result.beyond_chance == pytest.approx(0.743, abs=5e-4)
    assert (result.n, result.left_out) == (11, 1)


def test_items_of_one_prompt_that_agree_alike_widen_the_interval() -> None:
    rng = Random(1)
    kinds = [(True, True), (False, False), (True, False), (False, True)]
    drawn = rng.choices(kinds, [4, 4, 1, 1], k=60)
    rows = [row for row in drawn for _ in range(10)]
    first, second = zip(*rows, strict=True)
    alone, clustered = cohen_kappa(first, second), cohen_kappa(first, second, [i // 10 for i in range(600)])
    assert alone.beyond_chance == clustered.beyond_chance
    widths = []
    for one in (alone, clustered):
        assert one.low is not None
        assert one.high is not None
        widths.append(one.high - one.low)
    assert widths[1] > 2 * widths[0]


labels = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30)


@given(labels)
def test_kappa_is_at_most_one_and_one_only_in_full_agreement(drawn: list[tuple[bool, bool]]) -> None:
    result = cohen_kappa([a for a, _ in drawn], [b for _, b in drawn])
    if result.beyond_chance is not None:
        assert result.beyond_chance <= 1
        assert (result.beyond_chance == 1) == (result.observed == 1)
