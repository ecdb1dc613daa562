"""What each kind of unusable reply is called, and that real replies, however terse, have none of these names."""

import time
from itertools import islice, product

import pytest

from muser.agents.critics import CRITIQUE_SCHEMA, SHORTEST_RATIONALE
from muser.agents.outcomes import classify
from muser.core.types import Message, Reply, Request

GOOD = '{"rationale": "We should ask since when.", "verdict": "revise"}'
QUESTION = (Message(role="user", content="Judge this."),)
CRITIC = Request(messages=QUESTION, output_schema=CRITIQUE_SCHEMA, shortest=SHORTEST_RATIONALE)
TEXT = Request(messages=QUESTION)


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
        ("loop", Reply(text="{" * 3000)),
        ("loop", Reply(text='{"a":' * 3000)),
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
    assert classify(reply, CRITIC) == outcome


HOSTILE = (
    *("{", '{"', '{"a":', '{"a":[', '{"a":1}', '{"a":{}', '{ "a": "', "{" + " " * 9, '"{', "\\{"),
    *("<think>", "\ud800{"),
)


@pytest.mark.parametrize("piece", HOSTILE)
def test_the_time_to_read_a_reply_grows_no_faster_than_the_reply(piece: str) -> None:
    def seconds(length: int) -> float:
        # Words that never repeat follow, so that the reply is no loop and is read as JSON.
        words = " ".join(map("".join, islice(product("aeioubcdfghk", repeat=5), length // 3)))
        reply = Reply(text=f"So: {piece * (length // len(piece))} {words}")
        times = []
        for _ in range(3):
            began = time.process_time()
            assert classify(reply, CRITIC) == "malformed"
            times.append(time.process_time() - began)
        return min(times)

    # Sixteen times the text; what is quadratic takes 256 times as long.
    assert seconds(160_000) < 64 * max(seconds(10_000), 0.0005)


def test_json_that_is_nested_too_deeply_is_malformed() -> None:
    for depth in (900, 3000):
        keys = islice(product("aeioubcdfghk", repeat=4), depth)
        text = GOOD[:-1] + ', "x": ' + " ".join(f'{{"{"".join(key)}":' for key in keys) + "1" + "}" * (depth + 1)
        assert classify(Reply(text=text), CRITIC) in ("malformed", "wrong_schema")


def test_free_text_needs_only_to_be_there_and_whole() -> None:
    assert classify(Reply(text="Rest, and drink water."), TEXT) == "ok"
    assert classify(Reply(text="Rest, and dr", finish_reason="length"), TEXT) == "truncated"
    assert classify(Reply(text="", finish_reason="stop"), TEXT) == "empty"
