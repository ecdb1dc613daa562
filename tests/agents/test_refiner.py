"""The composed reasoning of the paper, section 3.2."""

from muser.agents.refiner import compose_reasoning
from muser.core.types import Critique


def critique(rationale: str) -> Critique:
    return Critique(critic="any", verdict="revise", rationale=rationale)


def test_rationales_stand_between_the_initial_reasoning_and_the_closing() -> None:
    reasoning = compose_reasoning(
        "The user is tired.", [critique("We should ask since when."), critique("We should warn.")]
    )
    assert reasoning == "The user is tired.\n\nWe should ask since when.\n\nWe should warn.\n\nNow, answer."


def test_a_closing_that_the_initial_reasoning_has_already_is_moved_to_the_end() -> None:
    reasoning = compose_reasoning("The user is tired.\nNow, answer.\n", [critique("We should warn.")])
    assert reasoning == "The user is tired.\n\nWe should warn.\n\nNow, answer."


def test_empty_rationales_and_an_empty_reasoning_leave_no_gap() -> None:
    assert compose_reasoning("", [critique("  "), critique("We should warn. ")]) == "We should warn.\n\nNow, answer."
