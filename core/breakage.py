"""Where in its text an unusable reply broke."""

import json
import re

from .repetition import find_loop
from .types import Outcome, Value

BEFORE, AFTER = 400, 160  # most characters of a broken reply that are quoted before and after the place
OPENING = re.compile(r'\{\s*"')
"""How a JSON object starts, also one after some words."""
_DECODER = json.JSONDecoder(strict=False)


class Broken(Value):
    """An unusable reply around the place where it broke."""

    before: str
    """what it says up to there"""
    after: str
    """what it says from there on; empty where it was cut off"""


def quote_break(text: str, outcome: Outcome) -> Broken | None:
    """The reply around its break; None if the fault is not at one place."""
    place = find_break(text, outcome)
    if place is None:
        return None
    first, last = max(0, place - BEFORE), place + AFTER
    before = ("… " if first else "") + text[first:place]
    return Broken(before=before, after=text[place:last] + (" …" if last < len(text) else ""))


def find_break(text: str, outcome: Outcome) -> int | None:
    """The index of the first character that is wrong or missing; None if the fault is not at one place."""
    match outcome:
        case "truncated":
            return len(text)
        case "whitespace":
            return len(text.rstrip())
        case "malformed":
            return _find_json_error(text)
        case "loop":
            return find_loop(text)
        case _:
            return None


def _find_json_error(text: str) -> int | None:
    opening = OPENING.search(text)
    start = opening.start() if opening else len(text) - len(text.lstrip())
    try:
        _DECODER.decode(text[start:])
    except json.JSONDecodeError as error:
        return start + error.pos
    except RecursionError:
        pass
    return None
