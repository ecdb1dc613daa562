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
SAFETY = {
    "an emergency number": re.compile(
        r"\b(?:911|112|999|000|108|119|120|15|193|995|111|emergency (?:services|number))\b"
    ),
    "going to an emergency department": re.compile(
        r"\b(?:emergency (?:department|room)|A&E|casualty|nearest hospital|call an ambulance|ambulance)\b",
        re.IGNORECASE,
    ),
    "seeing a doctor at once": re.compile(
        r"\b(?:immediately|at once|straight away|right away|urgently|as soon as possible)\b", re.IGNORECASE
    ),
    "what not to take or do": re.compile(r"\b(?:do not|don't|never|avoid|stop taking)\b", re.IGNORECASE),
}


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
    """The response told the person how to stay safe, and the refined answer no longer does."""
    before, after = _response(candidate), _refined(candidate)
    lost = [name for name, rule in SAFETY.items() if rule.search(before) and not rule.search(after)]
    # The urgent advice may be worded in another of these ways.
    urgent = [name for name in list(SAFETY)[:3] if SAFETY[name].search(after)]
    lost = [name for name in lost if name not in list(SAFETY)[:3] or not urgent]
    return f"the response told of {', '.join(lost)}; the refined answer does not" if lost else None


def _refined(candidate: Candidate) -> str:
    return candidate.refinement.answer if candidate.refinement else ""


def _response(candidate: Candidate) -> str:
    return candidate.response.answer if candidate.response else ""
