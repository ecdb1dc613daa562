"""The simulated roles, asked over HTTP by the real agents with the real prompts."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from muser.agents.critics import prompted_critic
from muser.agents.judge import grade
from muser.agents.persona import simulate as simulate_query
from muser.agents.refiner import refine
from muser.agents.responder import respond
from muser.core.recipe import CriticSettings, Recipe, RoleSettings
from muser.core.types import Ask, Critique, Message, Persona, Reply, Request, Response
from muser.endpoints.client.chat import open_endpoints
from muser.endpoints.simulated.knowledge import knowledge, phrases, rubric
from muser.endpoints.simulated.replies import UNKNOWN, fill, judge, write_query
from muser.endpoints.simulated.roles import Asked, read_request
from muser.prompts.attributes import load_attributes
from muser.prompts.templates import PromptSet, load_prompts

from ..conftest import settings

PERSONA = Persona(
    identity="nurse",
    region="rural Kenya",
    condition="snake bite",
    intent="manage at home",
    vagueness="specific",
    completeness="partial",
    style="plain",
)
FACETS = ("decision", "communication", "safety")


@pytest.fixture(scope="module")
def prompts() -> PromptSet:
    critics = {name: CriticSettings(prompt=f"{name}.md") for name in FACETS}
    critics["empathy"] = CriticSettings(prompt=str(Path(__file__).parents[3] / "recipes" / "empathy.md"))
    return load_prompts(Recipe(name="r", models={"m": settings("http://127.0.0.1:9")}, critics=critics))


@pytest.fixture
async def ask(simulated: str) -> AsyncIterator[Ask]:
    async with open_endpoints({"m": settings(simulated)}) as endpoints:

        async def call(request: Request) -> Reply:
            return await endpoints["m"].complete(request, RoleSettings(model="m"), 1)

        yield call


@pytest.fixture
async def query(prompts: PromptSet, ask: Ask) -> str:
    return await simulate_query(PERSONA, load_attributes("attributes.yaml", Path()), prompts.persona, ask)


@pytest.fixture
async def response(query: str, prompts: PromptSet, ask: Ask) -> Response:
    return await respond(prompts.responder.render(query=query), ask)


async def critiques(query: str, answer: str, names: tuple[str, ...], prompts: PromptSet, ask: Ask) -> list[Critique]:
    return [await prompted_critic(name, prompts)(query, answer, ask) for name in names]


async def points(answer: str, prompts: PromptSet, ask: Ask) -> dict[str, bool | None]:
    items = rubric(PERSONA["condition"], PERSONA["identity"], PERSONA["region"])
    conversation = f"user: help\n\nassistant: {answer}"
    grades = [
        await grade(
            conversation,
            item=number,
            points=item["points"],
            criterion=item["criterion"],
            prompt=prompts.judge,
            ask=ask,
        )
        for number, item in enumerate(items)
    ]
    return {item["criterion"].split(":")[0]: each.met for item, each in zip(items, grades, strict=True)}


async def test_a_persona_becomes_a_query_that_shows_who_asks(query: str) -> None:
    assert "I am a nurse." in query
    assert "Kenya" in query
    assert "What can be done at home?" in query


async def test_a_persona_of_another_language_writes_more_of_it_than_of_english(prompts: PromptSet, ask: Ask) -> None:
    tables = load_attributes("attributes.yaml", Path())
    codes = {choice.notes["name"]: choice.value for choice in tables.choices["language"]}
    assert set(phrases()) == set(codes) - {"English"}
    query = await simulate_query(PERSONA | {"language": codes["Hindi"]}, tables, prompts.persona, ask)
    assert len(re.findall(r"[\u0900-\u097f]", query)) > len(re.findall(r"[a-z]", query)) / 2
    topic = knowledge().read(query)
    assert (topic.condition.name, topic.identity.name, topic.region.name) == ("snake bite", "nurse", "rural Kenya")


@pytest.mark.parametrize("language", phrases())
def test_what_is_asked_can_be_read_in_every_language(language: str) -> None:
    asked = PERSONA | {"language": f"{language}; the query is written in {language}"}
    first = write_query(asked, lambda _, choices: choices[0])
    last = write_query(asked, lambda _, choices: choices[-1])
    assert first != last
    for query in (first, last):
        assert any(said in query for said in phrases()[language]["before"])
        topic = knowledge().read(query)
        assert (topic.condition.name, topic.identity.name, topic.region.name) == ("snake bite", "nurse", "rural Kenya")


async def test_a_persona_of_ones_own_attributes_gets_a_query(prompts: PromptSet, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("attributes: {ward: {values: {emergency: }}, complaint: {values: {cough: }}}")
    persona = {"ward": "emergency", "complaint": "cough"}
    query = await simulate_query(persona, load_attributes("own.yaml", tmp_path), prompts.persona, ask)
    assert query != UNKNOWN
    assert len(query.split()) > 3


async def test_the_teacher_advises_without_question_or_warning(response: Response) -> None:
    topic = knowledge().topic("snake bite", "nurse", "rural Kenya")
    assert topic.condition.fact in response.answer
    assert topic.condition.advice in response.answer
    assert "?" not in response.answer
    assert "call" not in response.answer
    assert 25 <= len(response.answer.split()) <= 50
    assert 15 <= len(response.reasoning.split()) <= 40


async def test_the_refiner_carries_out_every_plan(query: str, response: Response, prompts: PromptSet, ask: Ask) -> None:
    found = await critiques(query, response.answer, FACETS, prompts, ask)
    assert {critique.verdict for critique in found} == {"revise"}
    assert all(critique.rationale.startswith("We should ") for critique in found)
    refined = await refine(query, response.answer, found, first=response, prompts=prompts, ask=ask)
    assert all(critique.rationale in refined.reasoning for critique in found)
    again = await critiques(query, refined.answer, FACETS, prompts, ask)
    assert {critique.verdict for critique in again} == {"pass"}
    assert (
        await refine(query, refined.answer, again, first=response, prompts=prompts, ask=ask)
    ).answer == refined.answer
    assert 40 <= len(refined.answer.split()) <= 90


@pytest.mark.parametrize("left_out", FACETS)
async def test_a_facet_that_is_left_out_leaves_its_gain_out(
    left_out: str, query: str, response: Response, prompts: PromptSet, ask: Ask
) -> None:
    names = tuple(name for name in FACETS if name != left_out)
    found = await critiques(query, response.answer, names, prompts, ask)
    answer = (await refine(query, response.answer, found, first=response, prompts=prompts, ask=ask)).answer
    topic = knowledge().topic("snake bite", "nurse", "rural Kenya")
    marks = {"decision": topic.condition.question, "communication": topic.identity.salute, "safety": topic.warning}
    assert {name for name, mark in marks.items() if mark in answer} == set(names)


async def test_a_critic_that_the_script_does_not_know_gives_a_sensible_critique(
    query: str, response: Response, prompts: PromptSet, ask: Ask
) -> None:
    found = await critiques(query, response.answer, ("empathy",), prompts, ask)
    refined = await refine(query, response.answer, found, first=response, prompts=prompts, ask=ask)
    assert "I understand that this is hard" in refined.answer


async def test_the_rubric_tells_teacher_and_refined_answers_apart(
    query: str, response: Response, prompts: PromptSet, ask: Ask
) -> None:
    found = await critiques(query, response.answer, FACETS, prompts, ask)
    refined = await refine(query, response.answer, found, first=response, prompts=prompts, ask=ask)
    before, after = await points(response.answer, prompts, ask), await points(refined.answer, prompts, ask)
    assert [name for name, met in before.items() if met] == ["States the key fact", "Is brief"]
    # What refinement costs is shown as well: the answer is longer.
    assert [name for name, met in after.items() if not met] == ["Is brief", "Plays the matter down"]


async def test_the_judge_reads_the_last_answer_only(prompts: PromptSet, ask: Ask) -> None:
    conversation = "user: drink water?\n\nassistant: drink water\n\nuser: and then?\n\nassistant: rest"

    async def is_met(words: str) -> bool | None:
        criterion = f'Says "{words}"'
        return (await grade(conversation, item=0, points=1, criterion=criterion, prompt=prompts.judge, ask=ask)).met

    assert [await is_met(words) for words in ("drink water", "rest", "REST")] == [False, True, True]


@pytest.mark.parametrize(
    ("criterion", "answer", "met"),
    [
        (
            "Recommends seeing a physician about the persistent fever",
            "see a physician if the fever is persistent",
            True,
        ),
        ("Recommends seeing a physician about the persistent fever", "all is well", False),
        ("Is brief: at most 3 words", "one two three", True),
        ("Is brief: at most 3 words", "one two three four", False),
        ("Is brief: at most 3 words", "", False),
        ('Says "a" and "b c"', "a then b\nc", True),
        ('Says "a" and "b c"', "a then b", False),
        ("", "anything", False),
    ],
)
def test_the_judge_decides_by_words(criterion: str, answer: str, met: bool) -> None:
    assert judge(Asked("judge", (), criterion=criterion, answer=answer))["criteria_met"] is met


async def test_a_repair_is_read_as_the_same_task(query: str, response: Response, prompts: PromptSet) -> None:
    messages = prompts.critic_messages("safety", query=query, answer=response.answer)
    shown_back = (Message(role="assistant", content="oops"), Message(role="user", content="Reply again with JSON."))
    schema = {"properties": {"rationale": {"type": "string"}, "verdict": {"type": "string"}}}
    body = {
        "messages": [message.model_dump() for message in (*messages, *shown_back)],
        "response_format": {"type": "json_schema", "json_schema": {"schema": schema}},
    }
    asked = read_request(body)
    assert (asked.role, asked.query, asked.answer) == ("critic", query, response.answer)
    assert "Reply again" in asked.tail


def test_a_conversation_is_answered_at_its_last_question() -> None:
    turns = [("user", "I have asthma."), ("assistant", "Rest."), ("user", [{"type": "text", "text": "And a burn?"}])]
    asked = read_request({"messages": [{"role": role, "content": content} for role, content in turns]})
    assert (asked.role, asked.query) == ("responder", "And a burn?")


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a"]}, {"a": 0}),
        ({"type": "object", "properties": {"a": {"type": "boolean"}}}, {"a": False}),
        ({"type": "array", "items": {"enum": ["x", "y"]}, "minItems": 2}, ["x", "x"]),
        ({"type": "string"}, UNKNOWN),
        ({"type": "number", "minimum": 2}, 2),
    ],
)
def test_a_schema_of_no_role_gets_its_smallest_value(schema: dict[str, Any], value: Any) -> None:
    assert fill(schema) == value
    json.dumps(value)


async def verdict_of(url: str, query: str, said: str) -> str:
    """The verdict of a simulated critic whose prompt says something more."""
    text = f"<query>\n{query}\n</query>\n\n<answer>\nRest.\n</answer>\n\nOne facet, **safety**. {said}"
    schema = {"type": "json_schema", "json_schema": {"name": "reply", "schema": {"properties": {"verdict": {}}}}}
    body = {"model": "simulated", "messages": [{"role": "user", "content": text}], "response_format": schema}
    async with httpx2.AsyncClient(verify=False) as client:
        reply = (await client.post(f"{url}/chat/completions", json=body)).json()
    return str(json.loads(reply["choices"][0]["message"]["content"])["verdict"])


async def test_critics_pass_a_share_of_the_answers_and_heed_strict_and_lenient(simulate: Callable[..., str]) -> None:
    url = simulate(passing=1 / 3)
    passed = {}
    for word in ("You are strict.", "", "Be lenient."):
        asked = [verdict_of(url, f"I have asthma since {n} years.", word) for n in range(90)]
        passed[word] = {n for n, verdict in enumerate(await asyncio.gather(*asked)) if verdict == "pass"}
    strict, usual, lenient = passed.values()
    assert strict <= usual <= lenient
    assert [len(strict), 20 <= len(usual) <= 40, 55 <= len(lenient) <= 80] == [0, True, True]


async def test_a_passed_facet_adds_nothing_to_the_refined_answer(
    query: str, response: Response, prompts: PromptSet, simulate: Callable[..., str]
) -> None:
    async with open_endpoints({"m": settings(simulate(passing=1.0))}) as endpoints:

        async def all_pass(request: Request) -> Reply:
            return await endpoints["m"].complete(request, RoleSettings(model="m"), 1)

        found = await critiques(query, response.answer, FACETS, prompts, all_pass)
        assert {critique.verdict for critique in found} == {"pass"}
        refined = await refine(query, response.answer, found, first=response, prompts=prompts, ask=all_pass)
        assert refined.answer == response.answer


async def test_a_long_answer_is_a_page_of_markdown_and_refined_like_a_short_one(
    query: str, prompts: PromptSet, simulate: Callable[..., str]
) -> None:
    async with open_endpoints({"m": settings(simulate(long=True))}) as endpoints:

        async def at_length(request: Request) -> Reply:
            return await endpoints["m"].complete(request, RoleSettings(model="m"), 1)

        response = await respond(prompts.responder.render(query=query), at_length)
        assert 300 <= len(response.answer.split()) <= 600
        for mark in ("## ", "### ", "1. **", "- **", "| When | What is usual |", "|---|"):
            assert f"\n{mark}" in f"\n{response.answer}"
        found = await critiques(query, response.answer, FACETS, prompts, at_length)
        answer = (await refine(query, response.answer, found, first=response, prompts=prompts, ask=at_length)).answer
        again = await critiques(query, answer, FACETS, prompts, at_length)
        assert {critique.verdict for critique in again} == {"pass"}
        assert "\n\n## " in answer
        assert knowledge().wording.closing not in answer


@pytest.mark.parametrize(
    "prompt",
    [
        "Role: nurse\nRegion: Kenya\nCondition: snake bite\nWrite what this person asks.",
        "Improve this.\n<query>I have asthma.</query>\nPlans: warn.",
        " ",
    ],
)
def test_a_prompt_of_no_role_is_answered_so(simulated: str, prompt: str) -> None:
    body = {"model": "simulated", "messages": [{"role": "user", "content": prompt}]}
    reply = httpx2.post(f"{simulated}/chat/completions", json=body, verify=False).json()
    assert reply["choices"][0]["message"]["content"] == UNKNOWN
