"""Screens of the refined answer, compared with the response and the critics' plans."""

import re

from .candidate import Candidate
from .words import words

FEWEST = 10
LONGER = 4
"""How many times as long as the response a refined answer may be."""

ALLOWED = 400
"""Words that a refined answer may have however short the response was."""

COPIED = 12
"""Words in a row of a plan that only somebody who talks about the answer would write."""

PLAN = re.compile(
    r"\b(?:we|the answer|the response|the assistant) (?:should|must|need to|needs to|could)\b", re.IGNORECASE
)
URGENT = re.compile(
    r"\b(?:911|999|112|emergency|ambulance|A&E|nearest hospital)\b|\b(?:call|dial|ring)\s+(?:\w+\s+)?\d{2,3}\b"
    r"|\b(?:see|seek|call|contact|go|get|visit|tell)\b[^.!?\n]{0,80}"
    r"\b(?:immediately|at once|straight away|right away|urgently|as soon as possible)\b",
    re.IGNORECASE,
)
FORBIDS = re.compile(
    r"\b(?:do not|don['’]t|never|stop|avoid)\s+(?:tak|us|giv|driv|doubl|stop|combin|mix|drink|eat|mov|mass|appl)\w*",
    re.IGNORECASE,
)
WARNS = re.compile(
    r"\b(?:do not|don['’]t|never|stop|avoid|should not|shouldn['’]t|must not|rather than)\b", re.IGNORECASE
)


async def empty(candidate: Candidate) -> str | None:
    """The refined answer has hardly a word."""
    count = len(words(_refined(candidate)))
    return f"the refined answer has {count} words" if count < FEWEST else None


async def unchanged(candidate: Candidate) -> str | None:
    """The critics asked for a revision, and the answer has the same words as before."""
    asked = any(critique.verdict == "revise" for critique in candidate.critiques)
    same = words(_refined(candidate)) == words(_response(candidate))
    return "the refined answer is the response, though a critic asked for a revision" if asked and same else None


async def runaway(candidate: Candidate) -> str | None:
    """The refined answer is many times as long as the response."""
    before, after = len(words(_response(candidate))), len(words(_refined(candidate)))
    if after <= max(LONGER * before, ALLOWED):
        return None
    return f"the refined answer has {after} words, the response {before}"


async def copied_rationale(candidate: Candidate) -> str | None:
    """The refined answer repeats a plan's words about the answer, which are no words to the person."""
    refined = " ".join(words(_refined(candidate)))
    for critique in candidate.critiques:
        for sentence in re.split(r"(?<=[.!?])\s+", critique.rationale):
            plan = words(sentence)
            if len(plan) >= COPIED and PLAN.search(sentence) and " ".join(plan) in refined:
                return f"repeats a plan of {critique.critic}: “{sentence[:80]}”"
    return None


async def lost_safety(candidate: Candidate) -> str | None:
    """The response told the person, in English, how to stay safe, and the refined answer no longer does."""
    before, after = _response(candidate), _refined(candidate)
    # What the response said is told strictly, so that "don't worry" is no safety advice; what is kept, in any words.
    for what, told, kept in (("when to get help at once", URGENT, URGENT), ("what not to do", FORBIDS, WARNS)):
        said = told.search(before)
        if said and not kept.search(after):
            return f"the response told {what} (“{' '.join(said[0].split())}”); the refined answer does not"
    return None


def _refined(candidate: Candidate) -> str:
    return candidate.refinement.answer if candidate.refinement else ""


def _response(candidate: Candidate) -> str:
    return candidate.response.answer if candidate.response else ""
