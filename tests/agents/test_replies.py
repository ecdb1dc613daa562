"""What is sent after an unusable reply, and when its sample fails."""

import pytest

from muser.agents.critics import CRITIQUE_SCHEMA
from muser.agents.replies import ask_json, ask_text
from muser.core.errors import ReplyError
from muser.core.types import Message, Reply, Request

GOOD = '{"rationale": "We should ask since when.", "verdict": "revise"}'
QUESTION = (Message(role="user", content="Judge this."),)


class Scripted:
    """A model that gives these replies in turn and remembers what it was asked."""

    def __init__(self, *texts: str | Reply) -> None:
        self.replies = [text if isinstance(text, Reply) else Reply(text=text) for text in texts]
        self.asked: list[Request] = []

    async def __call__(self, request: Request) -> Reply:
        self.asked.append(request)
        return self.replies[len(self.asked) - 1]


async def test_a_malformed_reply_is_shown_back_with_its_fault() -> None:
    model = Scripted("pass, I think", GOOD)
    data = await ask_json(Request(messages=QUESTION, output_schema=CRITIQUE_SCHEMA), model, repairs=1)
    assert data["verdict"] == "revise"
    first, second = model.asked
    assert (first.attempt, second.attempt) == (1, 2)
    assert second.messages[: len(QUESTION)] == QUESTION
    assert second.messages[1].content == "pass, I think"
    assert "not JSON" in second.messages[2].content


async def test_the_one_object_in_prose_is_used_and_not_asked_for_again() -> None:
    model = Scripted(f"Well, {GOOD}")
    data = await ask_json(Request(messages=QUESTION, output_schema=CRITIQUE_SCHEMA), model, repairs=1)
    assert data == {"rationale": "We should ask since when.", "verdict": "revise"}
    assert len(model.asked) == 1


async def test_the_fault_names_the_place_in_a_reply_of_another_schema() -> None:
    model = Scripted('{"rationale": "x", "verdict": "maybe"}', GOOD)
    await ask_json(Request(messages=QUESTION, output_schema=CRITIQUE_SCHEMA), model, repairs=1)
    assert "$.verdict" in model.asked[1].messages[-1].content


async def test_a_truncated_reply_is_asked_again_without_being_shown_back() -> None:
    model = Scripted(Reply(text="Rest, and dr", finish_reason="length"), "Rest.")
    reply = await ask_text(Request(messages=QUESTION), model, repairs=1)
    assert reply.text == "Rest."
    assert model.asked[1].messages == QUESTION
    assert model.asked[1].attempt == 2


async def test_repairs_are_bounded_and_the_error_says_how_the_last_one_failed() -> None:
    model = Scripted("a", "b", '{"verdict": "pass"}')
    with pytest.raises(ReplyError, match="wrong schema after 3 attempts") as caught:
        await ask_json(Request(messages=QUESTION, output_schema=CRITIQUE_SCHEMA), model, repairs=2)
    assert caught.value.outcome == "wrong_schema"
    assert len(model.asked) == 3


async def test_a_refusal_is_not_asked_again() -> None:
    model = Scripted(Reply(text="", finish_reason="content_filter"))
    with pytest.raises(ReplyError, match="refusal after 1 attempt"):
        await ask_text(Request(messages=QUESTION), model, repairs=5)
    assert len(model.asked) == 1


async def test_a_lone_surrogate_inside_the_json_does_not_reach_the_next_request() -> None:
    model = Scripted(r'{"rationale": "We \ud83d ask.", "verdict": "revise"}')
    data = await ask_json(Request(messages=QUESTION, output_schema=CRITIQUE_SCHEMA), model, 0)
    assert data["rationale"] == "We \ufffd ask."
