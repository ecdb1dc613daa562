"""What each kind of unusable reply is called, and that real replies, however terse, have none of these names."""

import json
import re
import time
from itertools import islice, product
from pathlib import Path

import pytest

from muser.agents.critics import CRITIQUE_SCHEMA, SHORTEST_RATIONALE
from muser.agents.judge import GRADE_SCHEMA
from muser.agents.outcomes import classify
from muser.core.documents import PACKAGED
from muser.core.recipe import Recipe
from muser.core.types import Message, Reply, Request
from muser.prompts.attributes import load_attributes
from muser.prompts.templates import load_prompts

GOOD = '{"rationale": "We should ask since when.", "verdict": "revise"}'
QUESTION = (Message(role="user", content="Judge this."),)
CRITIC = Request(messages=QUESTION, output_schema=CRITIQUE_SCHEMA, shortest=SHORTEST_RATIONALE)
TEXT = Request(messages=QUESTION)
MODELS = {"main": {"model": "m", "base_url": "http://127.0.0.1:1/v1"}}
FILES = {name: {"prompt": f"{name}.md"} for name in ("decision", "communication", "safety", "empathy")}
RECIPES = Path(__file__).parents[2] / "recipes"
PROMPTS = load_prompts(
    Recipe.model_validate({"name": "r", "samples": 1, "models": MODELS, "critics": FILES, "folder": RECIPES})
)


def critic_request(name: str) -> Request:
    """What the critic of this name asks its model, but for the messages."""
    told = PROMPTS.instructions_of(PROMPTS.critics[name])
    return CRITIC.model_copy(update={"instructions": told})


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


REAL = json.loads((Path(__file__).parent / "smollm2.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("real", REAL, ids=[f"{n}-{one['role']}-{one['outcome']}" for n, one in enumerate(REAL)])
def test_replies_of_a_real_small_model_have_the_outcome_that_a_reader_would_give_them(real: dict[str, str]) -> None:
    tables = load_attributes("attributes.yaml", PACKAGED).choices
    values = " ".join(choice.text for name, choices in tables.items() if name != "condition" for choice in choices)
    told = f"{PROMPTS.persona.instructions}\n\n{values}" if real["role"] == "persona" else ""
    reply = Reply(text=real["text"], finish_reason=real["finish_reason"])
    assert classify(reply, Request(messages=QUESTION, instructions=told)) == real["outcome"]


def critique(rationale: str) -> Reply:
    return Reply(text=json.dumps({"rationale": rationale, "verdict": "pass"}))


@pytest.mark.parametrize("critic", PROMPTS.critics)
@pytest.mark.parametrize(
    ("outcome", "rationale"),
    [
        *(("placeholder", text) for text in ("…", "...", "We should …", "We should ask...", "<rationale>", "[plan]")),
        # SmolLM2-135M wrote this; the other one has a slot and a plan all the same.
        ("placeholder", "We should [insert rationale]"),
        ("ok", "Ask the dose [mg] and for how long"),
        *(("placeholder", text) for text in ("rationale", "String", "-", "{the plan in full, as one string}")),
        *(("too_short", text) for text in ("", "pass", "We should", "Revise.", "OK.", "应该")),
        ("echo", "Write your rationale as our own plan before we answer: first person plural"),
        (
            "echo",
            "Start from the query. Work out who is asking and for whom, where they are and what care they can get.",
        ),
        ("echo", "our own plan before we"),
    ],
)
def test_a_critique_that_says_nothing_is_unusable(critic: str, outcome: str, rationale: str) -> None:
    assert classify(critique(rationale), critic_request(critic)) == outcome


@pytest.mark.parametrize("critic", PROMPTS.critics)
@pytest.mark.parametrize(
    "rationale",
    [
        *("Ask since when.", "Call 112 now.", "We should ask about pregnancy.", "We should keep to plain words."),
        *("We should ask her: is she pregnant… and since when?", "Nothing to add, the warning is there."),
        *("应先问有没有怀孕。", "まず妊娠の有無を聞く。", "임신 여부를 먼저 물어야 합니다.", "ถามว่าตั้งครรภ์หรือไม่"),
        *("يجب أن نسأل عن الحمل.", "עלינו לשאול ממתי.", "हमें गर्भावस्था के बारे में पूछना चाहिए।", "Hamileliği sormalıyız."),
        *(
            "Нам следует спросить, с какого времени.",
            "Kysytään ensin raskaudesta.",
            "Wir sollten nach der Dosis fragen.",
        ),
        "We should work out who is asking: a nurse, so we should give doses and units, and the criteria for referral.",
    ],
)
def test_a_terse_critique_in_any_language_is_used(critic: str, rationale: str) -> None:
    assert classify(critique(rationale), critic_request(critic)) == "ok"


@pytest.mark.parametrize(
    "query",
    [
        *(
            "chest pain?",
            "my chest hurts…",
            "Lower back pain.",
            "what dose to take",
            "Patient: 45 M, chest pain 2 h, BP 90/60",
        ),
        *("is it safe", "头疼怎么办", "Hi.", "Question: may a baby of 3 months have paracetamol?", "Help!!!"),
        "Dear doctor, I am a retired teacher of 71 and live alone. Since Sunday my ankles are swollen. Is it urgent?",
    ],
)
def test_a_terse_query_is_used(query: str) -> None:
    assert classify(Reply(text=query), Request(messages=QUESTION, instructions=PROMPTS.persona.instructions)) == "ok"


@pytest.mark.parametrize(
    ("outcome", "query"),
    [
        ("echo", "Write: I am a patient and I want to know how soon to seek care."),
        ("echo", "You play the people who write to a medical assistant: patients, relatives and health workers."),
        ("placeholder", "[Your query here]"),
        ("placeholder", "…"),
    ],
)
def test_a_query_that_is_the_prompt_again_is_unusable(outcome: str, query: str) -> None:
    told = f"{PROMPTS.persona.instructions}\n\nWrite it as one sentence."
    assert classify(Reply(text=query), Request(messages=QUESTION, instructions=told)) == outcome


def test_a_judges_words_are_free_but_for_a_placeholder() -> None:
    def outcome(explanation: str) -> str:
        text = json.dumps({"explanation": explanation, "criteria_met": True})
        return classify(Reply(text=text), Request(messages=QUESTION, output_schema=GRADE_SCHEMA))

    assert [outcome(text) for text in ("", "Yes.", "It does.", "是")] == ["ok"] * 4
    assert [outcome(text) for text in ("…", "explanation", "<explanation>")] == ["placeholder"] * 3


def test_reasoning_that_loops_until_the_limit_is_a_loop() -> None:
    reply = Reply(text="", reasoning="Wait, I should check that again. " * 40, finish_reason="length")
    assert classify(reply, TEXT) == "loop"


@pytest.mark.parametrize("role", ["persona", "responder", "refiner", "judge", *PROMPTS.critics])
def test_no_prompt_has_a_placeholder_to_copy(role: str) -> None:
    prompt = PROMPTS.critics.get(role) or getattr(PROMPTS, role)
    # "if …, then …" is how a sentence is described, and no reply has that form.
    assert not re.search(r'…|\.\.\.|\{"', prompt.instructions.replace('("if …, then …")', ""))
