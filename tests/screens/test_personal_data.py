"""Personal data has a form: what has it is rejected, and medical numbers are not mistaken for it."""

from collections.abc import Callable

import pytest

from muser.core.types import Message
from muser.screens.candidate import Candidate
from muser.screens.personal_data import personal_data

MakeCandidate = Callable[..., Candidate]


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("Write to ann.miller+x@example.org please", "an e-mail address"),
        ("Call me at +44 20 7946 0958.", "a phone number"),
        ("Call (212) 555-0199 tonight", "a phone number"),
        ("My number is 030 123 4567", "a phone number"),
        ("I live at 12 Long Acre Road, top floor", "a street address"),
        ("Er wohnt Hauptstraße 12 im ersten Stock", "a street address"),
        ("SSN 078-05-1120, what does my plan pay?", "an identity number"),
        ("NHS number: 943 476 5919", "an identity number"),
        ("DOB 12/03/1961, chest pain", "a date of birth"),
        ("My name is Ann Miller and my head hurts", "a name"),
        ("Mrs. Miller in bed 4 has a fever", "a name"),
        ("Patient: John Smith, 54", "a name"),
    ],
)
async def test_what_identifies_a_person_is_rejected(candidate: MakeCandidate, query: str, kind: str) -> None:
    assert await personal_data(candidate(query)) == f"holds {kind}"


@pytest.mark.parametrize(
    "query",
    [
        "My blood pressure was 150/95, then 148-92, with a pulse of 88.",
        "Creatinine 1.4, eGFR 48, K 5.9, HbA1c 8.2 % on 2026-10-12.",
        "I take 2 x 500 mg paracetamol every 6 hours, 4000 mg at most.",
        "68-year-old man, HFrEF 35 %, furosemide 40 mg bd, 3 kg up in 5 days.",
        "My name is not important. I am 34 and 12 weeks pregnant.",
        "The doctor said it is Crohn's. Dr. who? I forget.",
        "I waited 10 days on the road and 2 in hospital.",
    ],
)
async def test_medical_numbers_and_plain_words_pass(candidate: MakeCandidate, query: str) -> None:
    assert await personal_data(candidate(query)) is None


async def test_earlier_turns_are_read_too(candidate: MakeCandidate) -> None:
    history = (Message(role="user", content="I am at ann@example.org"),)
    assert await personal_data(candidate("And now?", history=history)) == "holds an e-mail address"
