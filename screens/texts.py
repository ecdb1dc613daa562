"""Screens of a query's words: its length, talk about the task, and labels of the persona that it repeats."""

import re

from ..agents.persona import HOW
from .candidate import Candidate
from .words import words

SHORTEST, LONGEST = 3, 600
"""Words of a query. The longest last user turn of HealthBench's 500 packaged examples has fewer than 600."""

META = re.compile(
    r"\b(?:as an ai\b|language model\b|(?:here is|here's|below is) (?:the|a|my|your) (?:query|message|question)\b"
    r"|the (?:query|message) (?:is|reads|follows|would be)\b|(?:simulated|fictional) (?:user|patient|person|query)\b"
    r"|i (?:will|shall|am going to) (?:write|play|act|pretend)\b|(?:my|the|this) (?:persona|role is|attributes)\b"
    r"|as (?:a|an|the) (?:\w+ )?(?:patient|persona|user),? (?:i|who|in this)\b)",
    re.IGNORECASE,
)
TITLE = re.compile(r"^\s*[*#_>\s]*(?:query|message|question|subject|prompt|user)\s*[*_]*\s*:", re.IGNORECASE)

QUOTED = 6
"""Words in a row that a query may not share with the persona's description."""


async def length(candidate: Candidate) -> str | None:
    """Too short to ask anything, or longer than people write."""
    count = len(words(candidate.query))
    if SHORTEST <= count <= LONGEST:
        return None
    return f"{count} words; a query has {SHORTEST} to {LONGEST}"


async def meta_talk(candidate: Candidate) -> str | None:
    """Speaks about the query, the role or the task, where the person would simply ask."""
    found = META.search(candidate.query) or TITLE.search(candidate.query)
    return f"talks about the task: “{' '.join(found[0].split())}”" if found else None


async def labels(candidate: Candidate) -> str | None:
    """Repeats the persona's description: an attribute's label, or six words of what says how to write."""
    text = candidate.query
    for name in candidate.persona:
        label = candidate.labels.get(name, name)
        if re.search(rf"^\W*(?:\(?\d+\)?\W*)?{re.escape(label)}\s*[*_]*\s*:", text, re.IGNORECASE | re.MULTILINE):
            return f"names the attribute {label}"
    said = _runs(words(text))
    # The other attributes are what a message is about: people may use their words.
    for name in (one for one in HOW if one in candidate.texts):
        copied = said & _runs(words(candidate.texts[name]))
        if copied:
            return f"copies the description of {name}: “{' '.join(min(copied))}”"
    return None


def _runs(found: list[str]) -> set[tuple[str, ...]]:
    return {tuple(found[start : start + QUOTED]) for start in range(len(found) - QUOTED + 1)}
