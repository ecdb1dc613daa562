"""The tables that ship with muser: how much of medicine, of the world and of writing they cover."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from muser.core.documents import PACKAGED, read_document
from muser.prompts.attributes import load_attributes
from muser.prompts.sampling import draw_persona

CHAPTERS = [
    "A-B", "C-D48", "D50-D89", "E", "F", "G", "H00-H59", "H60-H95", "I", "J", "K",
    "L", "M", "N", "O", "P", "Q", "R", "S-T", "V-Y", "Z", "U",
]  # fmt: skip
LEAST = {
    "identity": 20, "language": 10, "region": 60, "condition": 290,
    "intent": 20, "vagueness": 4, "completeness": 4, "style": 15,
}  # fmt: skip
Values = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def tables() -> dict[str, Values]:
    document = read_document(PACKAGED / "attributes.yaml", "table")
    assert not document.problems
    return {name: attribute["values"] for name, attribute in document.data["attributes"].items()}


def test_every_attribute_of_the_paper_and_language_have_enough_values(tables: dict[str, Values]) -> None:
    assert list(tables) == list(LEAST)
    assert {name for name, least in LEAST.items() if len(tables[name]) < least} == set()


def test_no_two_values_of_an_attribute_say_the_same(tables: dict[str, Values]) -> None:
    for values in tables.values():
        texts = Counter(entry["text"] for entry in values.values())
        assert [text for text, number in texts.items() if number > 1] == []


def test_conditions_come_from_every_chapter_of_icd_10(tables: dict[str, Values]) -> None:
    counts = Counter(entry["notes"]["chapter"] for entry in tables["condition"].values())
    assert list(counts) == CHAPTERS
    assert min(counts.values()) >= 4


def test_every_condition_has_an_age_a_course_and_red_flags(tables: dict[str, Values]) -> None:
    for name, entry in tables["condition"].items():
        low, high = entry["traits"]["age"]
        assert 0 <= low <= high <= 100, name
        assert all(entry["notes"][note].strip() for note in ("course", "red flags")), name


def test_whoever_can_be_pregnant_is_a_woman_of_fitting_age(tables: dict[str, Values]) -> None:
    for name, entry in (tables["identity"] | tables["condition"]).items():
        traits = entry.get("traits", {})
        if traits.get("pregnant", "no") != "no":
            assert traits["sex"] == "female", name
            assert traits["age"][0] >= 13, name
            assert traits["age"][1] <= 50, name


def test_every_language_is_spoken_and_everything_endemic_occurs_somewhere(tables: dict[str, Values]) -> None:
    for trait, asked_by in {"speaks": "language", "endemic": "condition"}.items():
        offered = {word for entry in tables["region"].values() for word in listed(entry["traits"][trait])}
        asked = {entry["traits"][trait] for entry in tables[asked_by].values() if trait in entry["traits"]}
        assert offered - {"none"} == asked


def test_regions_cover_the_continents_and_levels_of_care(tables: dict[str, Values]) -> None:
    notes = [entry["notes"] for entry in tables["region"].values()]
    assert len({note["continent"] for note in notes}) >= 8
    assert set(Counter(note["resources"] for note in notes)) == {"high", "middle", "low"}


def test_a_run_of_ordinary_size_asks_about_every_chapter_from_every_region(tables: dict[str, Values]) -> None:
    shipped = load_attributes("attributes.yaml", Path())
    personas = [draw_persona(shipped, 0, number) for number in range(1, 8001)]
    chapters = {tables["condition"][persona["condition"]]["notes"]["chapter"] for persona in personas}
    assert chapters == set(CHAPTERS)
    assert {persona["region"] for persona in personas} == set(tables["region"])
    assert len({persona["condition"] for persona in personas}) > 0.9 * len(tables["condition"])


def listed(words: str | list[str]) -> list[str]:
    return [words] if isinstance(words, str) else words
