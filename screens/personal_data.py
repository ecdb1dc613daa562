"""The screen for personal data: addresses, numbers and names that identify somebody, found by rules.

Rules find what has a form. A name that stands alone in a sentence, which only a model of the language recognises, is
not found.
"""

import re

from .candidate import Candidate

STREET = (
    r"(?:street|st\.?|road|rd\.?|avenue|ave\.?|lane|drive|boulevard|blvd\.?|court|crescent|stra(?:ß|ss)e|rue|calle)"
)
RULES: dict[str, re.Pattern[str]] = {
    "an e-mail address": re.compile(r"[\w.+-]+@[\w-]+\.[A-Za-z]{2,}"),
    "a phone number": re.compile(
        r"(?<![\w.,/])(?:\+\d{1,3}[\s.-]?(?:\(?\d{1,4}\)?[\s.-]?){2,5}\d{2,4}|\(\d{3}\)\s?\d{3}[-\s]\d{4}"
        r"|0\d{2,4}[\s/-]\d{3,4}[\s-]?\d{3,4}|\d{3}[-.]\d{3}[-.]\d{4})(?![\w/])"
    ),
    "a street address": re.compile(
        rf"\b\d{{1,5}}\s+(?:[A-Z][\w'’-]+\s+){{1,3}}(?i:{STREET})(?!\w)|\b[A-Z][\w-]*(?i:stra(?:ß|ss)e)\s+\d{{1,4}}\b"
    ),
    "an identity number": re.compile(
        r"\b\d{3}-\d{2}-\d{4}\b"
        r"|\b(?i:ssn|nhs (?:no|number)|mrn|passport(?: no| number)?|insurance (?:no|number)|aadhaar)"
        r"\W{1,3}(?=[A-Z\d-]*\d)[A-Z\d][A-Z\d -]{5,}"
    ),
    "a date of birth": re.compile(
        r"(?i)\b(?:dob|d\.o\.b\.|born on|date of birth)\W{1,3}\d{1,4}[./-]\d{1,2}[./-]\d{1,4}"
    ),
    "a name": re.compile(
        r"\b(?:[Mm]y (?:full )?name is|[Nn]ame:|[Ss]igned,?|[Pp]atient:)\s+[A-Z][\w'’-]+(?:\s+[A-Z][\w'’.-]+)*"
        r"|\b(?:Mr|Mrs|Ms|Miss|Dr|Herr|Frau|Señora?)\.?\s+[A-Z][a-z'’-]{2,}(?:\s+[A-Z][a-z'’-]+)*"
    ),
}


async def personal_data(candidate: Candidate) -> str | None:
    """Holds what identifies a person: in the query, or in a turn before it."""
    for text in (candidate.query, *(turn.content for turn in candidate.history)):
        for kind, rule in RULES.items():
            if rule.search(text):
                return f"holds {kind}"
    return None
