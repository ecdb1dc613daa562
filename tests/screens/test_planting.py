import pytest

from muser.core.errors import InputError
from muser.screens.decontamination import Benchmark
from muser.screens.planting import score_nets
from muser.screens.references import Reference

TEXT = "I have had a headache for three days, and my doctor said it is normal. Should I take ibuprofen?"
SITES = ("ear", "knee", "back", "throat", "elbow", "stomach", "left eye", "right hand", "neck", "chest")
ASKED = [
    f"My {site} has been sore for {days} days and it gets worse at night, so should I see a doctor about the {site}?"
    for days, site in enumerate(SITES, start=2)
]
OWN = [
    f"Which vaccine does a traveller to region {number} need, and how long before the flight?" for number in range(9)
]


def test_each_net_is_scored_on_each_kind_of_copy() -> None:
    benchmark = Benchmark([Reference(kind="prompt", where="b:1", text=text) for text in ASKED])
    steps: list[tuple[int, int]] = []
    scores = {(one.copies, one.net): one for one in score_nets(OWN, benchmark, lambda *step: steps.append(step))}
    assert len(scores) == 16
    verbatim = scores["verbatim", "any"]
    assert (verbatim.planted, verbatim.own, verbatim.found, verbatim.flagged) == (9, 9, 9, 0)
    assert (verbatim.recall, verbatim.precision, verbatim.changed) == (1, 1, 0)
    assert scores["truncated", "ngrams"].recall == 1
    assert scores["reworded", "any"].recall > scores["reworded", "ngrams"].recall
    assert 0 < scores["reworded", "any"].changed < scores["translated", "any"].changed
    assert steps[-1] == (45, 45)


def test_own_queries_that_copy_the_benchmark_lower_the_precision() -> None:
    benchmark = Benchmark([Reference(kind="prompt", where="b:1", text=text) for text in ASKED])
    score = next(one for one in score_nets([*OWN[:5], *ASKED[:5]], benchmark) if one.net == "any")
    assert score.flagged == 5
    assert score.precision == pytest.approx(10 / 15, abs=1e-4)


def test_without_queries_there_is_nothing_to_test_with() -> None:
    with pytest.raises(InputError, match="nothing to test with"):
        score_nets([], Benchmark([Reference(kind="prompt", where="b:1", text=TEXT)]))
