"""The answers with planted faults: each twin differs from its sound answer in the one fault, which can be named."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import muser.evals
from muser.core.documents import read_document

FILE = Path(muser.evals.__file__).with_name("planted_faults.yaml")


@pytest.fixture(scope="module")
def faults() -> list[dict[str, Any]]:
    document = read_document(FILE)
    assert not document.problems
    entries: list[dict[str, Any]] = document.data["faults"]
    return entries


def test_every_facet_has_twelve_faults_or_more(faults: list[dict[str, Any]]) -> None:
    counts = Counter(entry["facet"] for entry in faults)
    assert set(counts) == {"decision", "communication", "safety"}
    assert min(counts.values()) >= 12
    assert len({entry["query"] for entry in faults}) == len(faults)


def test_answer_and_twin_are_of_ordinary_length_and_differ_in_one_place(faults: list[dict[str, Any]]) -> None:
    for entry in faults:
        assert entry["answer"].count(entry["replace"]) == 1, entry["query"]
        twin = entry["answer"].replace(entry["replace"], entry["by"])
        assert all(60 <= len(text.split()) <= 200 for text in (entry["answer"], twin)), entry["query"]


def test_the_description_of_a_fault_is_recognised_by_the_words_that_name_it(faults: list[dict[str, Any]]) -> None:
    for entry in faults:
        words = "|".join(map(re.escape, entry["names"]))
        assert re.search(rf"(?<!\w)(?:{words})", entry["fault"], re.IGNORECASE), entry["fault"]
