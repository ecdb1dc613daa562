"""Conversations as models, critics and trainers are given them."""

import pytest

from muser.core.conversations import asked_text, check_answer, check_prompt, in_conversation
from muser.core.types import Message

PROMPT = (Message(role="system", content="Be brief."), Message(role="user", content="Since Monday."))
TURNS = (Message(role="user", content="My back hurts."), Message(role="assistant", content="Since when?"))


def test_earlier_turns_stand_before_the_prompts_last_message() -> None:
    assert in_conversation(PROMPT, TURNS) == (PROMPT[0], *TURNS, PROMPT[1])
    assert in_conversation(PROMPT, ()) == PROMPT


def test_a_system_message_that_was_brought_replaces_the_prompts() -> None:
    brought = Message(role="system", content="You are a nurse.")
    assert in_conversation(PROMPT, (brought, *TURNS)) == (brought, *TURNS, PROMPT[1])


def test_critics_read_a_query_alone_as_it_is_and_a_later_one_with_the_turns_before_it() -> None:
    assert asked_text((), "Since Monday.") == "Since Monday."
    assert asked_text(TURNS, "Since Monday.") == "user: My back hurts.\n\nassistant: Since when?\n\nuser: Since Monday."


@pytest.mark.parametrize(
    ("roles", "fault"),
    [
        ((), "the last message must have the role user"),
        (("user", "assistant"), "the last message must have the role user"),
        (("user", "system", "user"), "only the first message"),
    ],
)
def test_messages_that_no_answer_can_follow_are_refused(roles: tuple[str, ...], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        check_prompt([Message(role=role, content="x") for role in roles])


def test_an_empty_message_and_an_empty_answer_are_refused() -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        check_prompt([Message(role="user", content=" \n")])
    with pytest.raises(ValueError, match="train on nothing"):
        check_answer("<think>why</think>\n ")
