"""Wanted against achieved: counts by value and by pair, and which cells are short."""

from math import log2

import numpy as np
import pytest

from muser.prompts.joint import Joint
from muser.screens.coverage import count_cells, entropy, measure_coverage

HALVES = Joint(
    values={"who": ("parent", "nurse"), "what": ("flu", "burn")},
    single={"who": np.array([0.5, 0.5]), "what": np.array([0.75, 0.25])},
    pairs={("who", "what"): np.array([[0.5, 0.0], [0.25, 0.25]])},
)


def personas(*counts: tuple[str, str, int]) -> list[dict[str, str]]:
    return [{"who": who, "what": what} for who, what, n in counts for _ in range(n)]


def test_a_cell_is_covered_from_95_percent_of_what_is_wanted() -> None:
    cells = count_cells(HALVES, personas(("parent", "flu", 38), ("nurse", "flu", 18), ("nurse", "burn", 24)), 80)
    found = measure_coverage(cells)
    assert (found.cells, found.covered) == (3, 2)
    (short,) = found.short
    assert (short.values, short.wanted, short.achieved) == ({"who": "nurse", "what": "flu"}, 20.0, 18)
    assert cells.missing(("who", "what")).tolist() == [[0, 0], [1, 0]]


def test_cells_of_which_fewer_than_ten_are_wanted_are_not_judged() -> None:
    found = measure_coverage(count_cells(HALVES, personas(("parent", "flu", 1)), 39))
    assert [(pair.cells, pair.covered) for pair in found.pairs] == [(1, 0)]


def test_a_persona_with_a_value_of_its_own_counts_where_its_values_are_known() -> None:
    three = Joint(
        values={"who": ("parent",), "what": ("flu",), "how": ("terse",)},
        single={name: np.array([1.0]) for name in ("who", "what", "how")},
        pairs={pair: np.array([[1.0]]) for pair in (("who", "what"), ("who", "how"), ("what", "how"))},
    )
    cells = count_cells(three, [{"who": "parent", "what": "gout", "how": "terse"}, {"who": "parent"}], 2)
    assert {pair: int(counts[0, 0]) for pair, counts in cells.counts.items()} == {
        ("who", "what"): 0,
        ("who", "how"): 1,
        ("what", "how"): 0,
    }


def test_a_run_without_personas_covers_nothing() -> None:
    found = measure_coverage(count_cells(HALVES, [], 0))
    assert (found.cells, found.short, found.attributes[0].entropy) == (0, (), 0.0)


def test_the_entropy_of_an_attribute_stands_beside_that_of_the_tables() -> None:
    found = measure_coverage(count_cells(HALVES, personas(("parent", "flu", 30), ("nurse", "burn", 10)), 40))
    who, what = found.attributes
    assert who.wanted_entropy == 1.0
    assert who.entropy == pytest.approx(-0.75 * log2(0.75) - 0.25 * log2(0.25))
    assert what.entropy == pytest.approx(what.wanted_entropy)
    assert [(one.value, one.wanted, one.achieved) for one in who.values] == [("parent", 20, 30), ("nurse", 20, 10)]


def test_equal_shares_have_the_entropy_of_their_number() -> None:
    assert entropy(np.array([7, 7, 0, 7, 7])) == pytest.approx(2.0)
