"""What is sent after an unusable reply, and when its sample fails."""

from itertools import pairwise
from typing import get_args

import pytest

from muser.agents.critics import CRITIQUE_SCHEMA, SHORTEST_RATIONALE
from muser.agents.outcomes import classify
from muser.agents.replies import LOOP_PENALTY, REPEAT_TEMPERATURE, ask_json, ask_text
from muser.core.errors import ReplyError
from muser.core.types import Message, Outcome, Reply, Request

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


UNUSABLE = {
    "truncated": Reply(text="Rest, and dr", finish_reason="length"),
    "loop": Reply(text="Rest, and drink. " * 60, finish_reason="length"),
    "whitespace": Reply(text="{" + " " * 60, finish_reason="length"),
    "unclosed_reasoning": Reply(text="", reasoning="Let me think", finish_reason="length"),
    "empty": Reply(text=""),
    "malformed": Reply(text="pass, I think"),
    "wrong_schema": Reply(text='{"verdict": "pass"}'),
    "echo": Reply(text='{"rationale": "Judge this answer by what it leaves out.", "verdict": "pass"}'),
    "placeholder": Reply(text='{"rationale": "We should …", "verdict": "pass"}'),
    "too_short": Reply(text='{"rationale": "Pass.", "verdict": "pass"}'),
}
CRITIC = Request(
    messages=QUESTION,
    output_schema=CRITIQUE_SCHEMA,
    instructions="Judge this answer by what it leaves out.",
    shortest=SHORTEST_RATIONALE,
)


def test_every_outcome_but_the_usable_ones_and_a_refusal_is_repaired() -> None:
    assert {*UNUSABLE, "ok", "prose", "refusal"} == set(get_args(Outcome))
    for outcome, reply in UNUSABLE.items():
        assert classify(reply, CRITIC) == outcome


@pytest.mark.parametrize("outcome", UNUSABLE)
async def test_no_repair_is_the_same_request_as_one_before_it(outcome: str) -> None:
    model = Scripted(UNUSABLE[outcome], UNUSABLE[outcome], GOOD)
    await ask_json(CRITIC, model, repairs=2)
    first, second, third = model.asked
    assert first.least_temperature == 0
    for request in (second, third):
        assert request.least_temperature == REPEAT_TEMPERATURE > 0, "and so its seed draws another reply"
        assert (request.messages, request.frequency_penalty) != (first.messages, 0) or outcome in (
            "whitespace",
            "empty",
        )
        assert request.messages[0].content.startswith(QUESTION[0].content), "the prefix that a server has cached"
        roles = [message.role for message in request.messages]
        assert all(one != other for one, other in pairwise(roles)), "turns alternate, as some chat templates require"
    assert second.messages == third.messages, "repairs do not pile up"


async def test_a_repair_asks_for_what_the_reply_lacked() -> None:
    async def added(outcome: str) -> str:
        model = Scripted(UNUSABLE[outcome], GOOD)
        await ask_json(CRITIC, model, repairs=1)
        return model.asked[1].messages[-1].content.removeprefix(QUESTION[0].content)

    assert "shorter" in await added("truncated")
    assert "each thing once" in await added("loop")
    assert "briefly" in await added("unclosed_reasoning")
    assert "words of your own" in await added("echo")
    assert "in full" in await added("placeholder")
    assert "complete sentence" in await added("too_short")


async def test_only_a_loop_brings_a_penalty_on_repetition() -> None:
    for outcome, reply in UNUSABLE.items():
        model = Scripted(reply, GOOD)
        await ask_json(CRITIC, model, repairs=1)
        assert model.asked[1].frequency_penalty == (LOOP_PENALTY if outcome == "loop" else 0)


async def test_a_loop_is_not_blamed_on_max_tokens() -> None:
    with pytest.raises(ReplyError, match="loop after 1 attempt") as caught:
        await ask_text(Request(messages=QUESTION), Scripted(UNUSABLE["loop"]), repairs=0)
    assert "frequency_penalty" in caught.value.todo
    assert "raise the model's max_tokens" not in caught.value.todo


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
