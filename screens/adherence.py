"""The screen for adherence: does the query show the attributes that it was given?

Rules find what can be told from the form: a query that was to be terse and is long, one that was to be in shorthand or
lower case and is not. If the recipe binds a role `checker`, a model decides about all attributes as well.
"""

import re

from ..agents.checker import check
from .candidate import Candidate
from .words import words

TERSE = 40
"""Words that a terse query, or a very vague one, may have."""

SHORTHAND = re.compile(r"\b(?:\d+\s?[myof]\b|\d+\s?yo\b|h/o|c/o|hx|dx|rx|tx|pt|bp|hr|sob|po|prn|bd|tds|[A-Z]{2,5})")
NUMBER, QUESTION = re.compile(r"(?m)^\W*\d+[.)、．]"), re.compile(r"[?？؟]")


async def adherence(candidate: Candidate) -> str | None:
    """The query shows none of what the persona's style says, or, by the checker, not the persona."""
    found = _by_rules(candidate)
    if found or candidate.ask is None:
        return found
    described = {candidate.labels.get(name, name): text for name, text in candidate.texts.items()}
    return await check(described, candidate.query, candidate.ask)


def _by_rules(candidate: Candidate) -> str | None:
    style, query = candidate.persona.get("style", ""), candidate.query
    count = len(words(query))
    if style == "terse" and count > TERSE:
        return f"was to be terse and has {count} words"
    # The abbreviations are English ones.
    english = candidate.language in {"", "English"}
    if style == "clinical notes" and english and not SHORTHAND.search(query):
        return "was to be in clinical shorthand and has no abbreviation"
    if style == "numbered questions" and not NUMBER.search(query) and len(QUESTION.findall(query)) < 2:
        return "was to number its questions and has one at most"
    return None
