"""What knowledge.py finds in personas and queries: every value of the tables, every written question."""

import json
import random
from itertools import product
from pathlib import Path

import pytest

from muser.endpoints.simulated.knowledge import BRIEF, Condition, knowledge, rubric
from muser.endpoints.simulated.replies import respond, write_query
from muser.prompts.attributes import AttributeTables, load_attributes

QUESTIONS = Path(__file__).parents[3] / "recipes" / "questions.jsonl"
# So that a new keyword cannot quietly change an answer.
ABOUT = """
chest pain, fever in a child, medication overdose, heart failure, stroke, malaria, sprained ankle, low blood sugar,
late pregnancy, high blood pressure, sore throat, dengue, anemia, snake bite, depression, swallowing trouble,
unproven remedy, pregnancy bleeding, fever in a child, travel vaccines"""


@pytest.fixture(scope="module")
def tables() -> AttributeTables:
    return load_attributes("demo_attributes.yaml", Path())


def test_every_condition_identity_and_region_of_the_tables_is_known_by_name_and_by_text(
    tables: AttributeTables,
) -> None:
    known = knowledge()
    for choice in tables.choices["condition"]:
        assert {known.topic(text, "", "").condition.name for text in (choice.value, choice.text)} == {choice.value}
    for choice in tables.choices["identity"]:
        assert {known.topic("", text, "").identity.name for text in (choice.value, choice.text)} == {choice.value}
    for choice in tables.choices["region"]:
        assert {known.topic("", "", text).region.name for text in (choice.value, choice.text)} == {choice.value}


@pytest.mark.parametrize("attribute", ["style", "vagueness", "completeness", "intent"])
def test_every_other_value_is_told_apart_the_same_by_name_and_by_text(tables: AttributeTables, attribute: str) -> None:
    cue = knowledge().wording.cue
    for choice in tables.choices[attribute]:
        assert cue(attribute, {attribute: choice.value}) == cue(attribute, {attribute: choice.text})


def test_condition_identity_and_region_can_be_read_from_every_query(tables: AttributeTables) -> None:
    known, chance = knowledge(), random.Random(0)
    names = ("condition", "identity", "region")
    others = ("intent", "vagueness", "completeness", "style")
    for main in product(*(tables.choices[name] for name in names)):
        given = dict(zip(names, main, strict=True)) | {name: chance.choice(tables.choices[name]) for name in others}
        query = write_query({name: choice.text for name, choice in given.items()}, lambda _, all_: chance.choice(all_))
        topic = known.read(query)
        read = (topic.condition.name, topic.identity.name, topic.region.name)
        assert read == tuple(choice.value for choice in main), query


def test_a_condition_that_nobody_scripted_is_still_asked_and_answered() -> None:
    given = dict.fromkeys(("identity", "region", "intent", "vagueness", "completeness", "style"), "unheard of")
    query = write_query(given | {"condition": "hiccups"}, lambda _, all_: all_[0])
    assert "hiccups" in query
    assert "unheard of" in query
    assert knowledge().read(query).condition.name == "other"
    assert "Here is some advice on this." in str(respond(query, lambda _, all_: all_[0]).text)


def test_the_written_questions_are_about_what_they_are_about() -> None:
    queries = [json.loads(line)["query"] for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    assert [knowledge().read(query).condition.name for query in queries] == [name.strip() for name in ABOUT.split(",")]


def test_the_longest_phrase_wins_and_being_pregnant_is_who_asks() -> None:
    read = knowledge().read
    assert read("My mother has a cough for weeks and a fever.").condition.name == "tuberculosis"
    assert read("I am pregnant. I have an ear infection.").condition.name == "ear infection"
    assert read("I am pregnant.").identity.name == "pregnant woman"
    assert read("The weather is nice.").condition is knowledge().fallback


@pytest.mark.parametrize("condition", knowledge().conditions, ids=lambda condition: condition.name)
def test_the_texts_of_a_condition_are_short_and_whole(condition: Condition) -> None:
    for sentence in (condition.fact, condition.advice, condition.clinical):
        assert sentence.endswith(".")
        assert 3 <= len(sentence.split()) <= 20
    assert condition.question.endswith("?")
    assert not condition.danger.endswith(".")
    assert knowledge().read(f"I have {condition.complaint}.").condition is condition
    assert knowledge().read(f"I have {condition.vague}.").condition is condition


def test_a_rubric_has_the_form_of_healthbench() -> None:
    items = rubric("chest pain", "nurse", "rural Kenya")
    assert {key for item in items for key in item} == {"criterion", "points", "tags"}
    axes = {tag for item in items for tag in item["tags"] if tag.startswith("axis:")}
    assert axes == {
        f"axis:{axis}"
        for axis in (
            "accuracy",
            "communication_quality",
            "completeness",
            "context_awareness",
            "instruction_following",
        )
    }
    assert any(item["points"] < 0 for item in items)
    assert any("call 999" in item["criterion"] for item in items)
    assert any(f"at most {BRIEF} words" in item["criterion"] for item in items)
