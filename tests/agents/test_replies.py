"""Which replies are of use, what each other kind is called, and what is asked after it."""

import time

import pytest

from muser.agents.critics import CRITIQUE_SCHEMA
from muser.agents.replies import ask_json, ask_text, classify
from muser.core.errors import ReplyError
from muser.core.types import Message, Reply, Request

GOOD = '{"rationale": "We should ask since when.", "verdict": "revise"}'
QUESTION = (Message(role="user", content="Judge this."),)


@pytest.mark.parametrize(
    ("outcome", "reply"),
    [
        ("ok", Reply(text=GOOD)),
        ("ok", Reply(text=f"\n{GOOD}  ", finish_reason="stop")),
        ("truncated", Reply(text='{"rationale": "We sh', finish_reason="length")),
        ("whitespace", Reply(text='{"rationale":' + "\n" * 60, finish_reason="length")),
        ("unclosed_reasoning", Reply(text="", reasoning="Let me think", finish_reason="length")),
        ("unclosed_reasoning", Reply(text=" ", reasoning="Let me think", finish_reason="stop")),
        ("empty", Reply(text="\n\n", finish_reason="stop")),
        ("refusal", Reply(text="I cannot", finish_reason="content_filter")),
        ("prose", Reply(text=f"Sure! Here it is: {GOOD}")),
        ("prose", Reply(text=f"```json\n{GOOD}\n```")),
        ("prose", Reply(text=f"A {{draft}}: {{not JSON}}, then\n{GOOD}\nI hope that helps {{a lot}}.")),
        ("prose", Reply(text=GOOD + GOOD)),
        ("prose", Reply(text=f'First {{"step": 1}}, and so: {GOOD}')),
        ("malformed", Reply(text=GOOD + GOOD.replace("revise", "pass"))),
        ("malformed", Reply(text=f"As they say: {GOOD[:-1]}")),
        ("malformed", Reply(text='The verdict is {"verdict": "pass"}.')),
        ("malformed", Reply(text="We should pass.")),
        ("malformed", Reply(text="{" * 3000)),
        ("malformed", Reply(text='{"a":' * 3000)),
        ("truncated", Reply(text=f"Here it is: {GOOD}, and", finish_reason="length")),
        ("refusal", Reply(text=GOOD, finish_reason="content_filter")),
        ("unclosed_reasoning", Reply(text="", reasoning=GOOD, finish_reason="stop")),
        ("wrong_schema", Reply(text='{"verdict": "revise"}')),
        ("wrong_schema", Reply(text='{"rationale": "x", "verdict": "maybe"}')),
        ("wrong_schema", Reply(text='{"rationale": "x", "verdict": "pass", "score": 3}')),
        ("wrong_schema", Reply(text='["pass"]')),
        ("wrong_schema", Reply(text='{"rationale": null, "verdict": "pass"}')),
    ],
)
def test_every_way_a_critics_reply_can_end_has_its_name(outcome: str, reply: Reply) -> None:
    assert classify(reply, CRITIQUE_SCHEMA) == outcome


HOSTILE = (
    *("{", '{"', '{"a":', '{"a":[', '{"a":1}', '{"a":{}', '{ "a": "', "{" + " " * 9, '"{', "\\{"),
    *("<think>", "\ud800{"),
)


@pytest.mark.parametrize("piece", HOSTILE)
def test_the_time_to_read_a_reply_grows_no_faster_than_the_reply(piece: str) -> None:
    def seconds(length: int) -> float:
        reply = Reply(text=f"So: {piece * (length // len(piece))}")
        times = []
        for _ in range(3):
            began = time.process_time()
            assert classify(reply, CRITIQUE_SCHEMA) == "malformed"
            times.append(time.process_time() - began)
        return min(times)

    # Sixteen times the text; what is quadratic takes 256 times as long.
    assert seconds(320_000) < 64 * max(seconds(20_000), 0.0005)


def test_json_that_is_nested_too_deeply_is_malformed() -> None:
    for depth in (900, 3000):
        text = GOOD[:-1] + ', "x": ' + '{"a":' * depth + "1" + "}" * (depth + 1)
        assert classify(Reply(text=text), CRITIQUE_SCHEMA) in ("malformed", "wrong_schema")


def test_free_text_needs_only_to_be_there_and_whole() -> None:
    assert classify(Reply(text="Rest, and drink water.")) == "ok"
    assert classify(Reply(text="Rest, and dr", finish_reason="length")) == "truncated"
    assert classify(Reply(text="", finish_reason="stop")) == "empty"


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
