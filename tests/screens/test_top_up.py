"""Top-up: what is short is filled, by possible personas only, the same ones each time."""

from collections.abc import Mapping

import numpy as np
import pytest

from muser.prompts.joint import Joint
from muser.screens.coverage import count_cells, measure_coverage
from muser.screens.top_up import plan_top_up

JOINT = Joint(
    values={"who": ("parent", "nurse"), "what": ("croup", "dementia", "flu"), "how": ("plain", "terse")},
    single={"who": np.array([0.5, 0.5]), "what": np.array([0.4, 0.2, 0.4]), "how": np.array([0.5, 0.5])},
    pairs={
        ("who", "what"): np.array([[0.25, 0.0, 0.25], [0.15, 0.2, 0.15]]),
        ("who", "how"): np.full((2, 2), 0.25),
        ("what", "how"): np.array([[0.2, 0.2], [0.1, 0.1], [0.2, 0.2]]),
    },
)
SKEWED = [{"who": "parent", "what": "flu", "how": "plain"}] * 60 + [
    {"who": "nurse", "what": "flu", "how": "terse"}
] * 40


def contradicts(persona: Mapping[str, str]) -> bool:
    return persona.get("who") == "parent" and persona.get("what") == "dementia"


def test_every_cell_is_covered_afterwards_by_personas_that_the_tables_allow() -> None:
    before = count_cells(JOINT, SKEWED, 100)
    assert measure_coverage(before).covered < measure_coverage(before).cells
    plan = list(plan_top_up(before, contradicts))
    assert not any(contradicts(persona) for persona in plan)
    assert measure_coverage(count_cells(JOINT, SKEWED + plan, 100)).short == ()


def test_each_persona_fills_several_cells() -> None:
    cells = count_cells(JOINT, SKEWED, 100)
    gaps = sum(int(cells.missing(pair).sum()) for pair in cells.counts)
    assert len(list(plan_top_up(cells, contradicts))) <= gaps / 2


@pytest.mark.parametrize("kept", [1, 5, 20])
def test_a_plan_that_was_interrupted_goes_on_with_the_personas_that_are_missing(kept: int) -> None:
    plan = list(plan_top_up(count_cells(JOINT, SKEWED, 100), contradicts))
    rest = list(plan_top_up(count_cells(JOINT, SKEWED + plan[:kept], 100), contradicts))
    assert plan[:kept] + rest == plan


def test_where_no_cell_is_short_there_is_nothing_to_add() -> None:
    assert list(plan_top_up(count_cells(JOINT, SKEWED, 10), contradicts)) == []


def test_a_rule_about_three_values_is_kept_too() -> None:
    def three(persona: Mapping[str, str]) -> bool:
        return contradicts(persona) or persona == {"who": "nurse", "what": "croup", "how": "terse"}

    plan = list(plan_top_up(count_cells(JOINT, SKEWED, 100), three))
    assert plan
    assert not any(three(persona) for persona in plan)
