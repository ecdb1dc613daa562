"""The composed reasoning of the paper, section 3.2."""

from muser.agents.refiner import compose_reasoning
from muser.core.types import Critique, Verdict


def critique(rationale: str, critic: str = "any", verdict: Verdict = "revise", number: int = 1) -> Critique:
    return Critique(critic=critic, verdict=verdict, rationale=rationale, round=number)


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


def test_every_rounds_plan_that_asked_for_a_revision_is_kept_critic_by_critic() -> None:
    rounds = [
        critique("We should ask.", "decision", number=1),
        critique("We should warn.", "safety", number=1),
        critique("We should keep our question.", "decision", "pass", number=2),
        critique("We should say when to come back.", "safety", number=2),
    ]
    assert compose_reasoning("", rounds) == (
        "We should ask.\n\nWe should warn.\n\nWe should say when to come back.\n\nNow, answer."
    )


def test_a_critic_that_never_asked_for_a_revision_is_heard_once_by_its_last_pass() -> None:
    rounds = [
        critique("We should be plain.", "communication", "pass", number=1),
        critique("We should ask.", "decision", number=1),
        critique("We should stay plain.", "communication", "pass", number=2),
        critique("We should ask more.", "decision", number=2),
    ]
    assert (
        compose_reasoning("", rounds)
        == "We should stay plain.\n\nWe should ask.\n\nWe should ask more.\n\nNow, answer."
    )


def test_a_plan_that_is_made_again_stands_once() -> None:
    rounds = [critique("We should warn.", "safety", number=n) for n in (1, 2)]
    assert compose_reasoning("", rounds) == "We should warn.\n\nNow, answer."
