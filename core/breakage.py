"""Where in its text an unusable reply broke."""

import json
import re

from .types import Outcome

PASSAGE = 6  # words
_DECODER = json.JSONDecoder(strict=False)


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
            return _find_loop(text)
        case _:
            return None


def _find_json_error(text: str) -> int | None:
    stripped = text.lstrip()
    try:
        _DECODER.decode(stripped)
    except json.JSONDecodeError as error:
        return len(text) - len(stripped) + error.pos
    except RecursionError:
        pass
    return None


def _find_loop(text: str) -> int | None:
    """Where a passage of the text starts for the second time, the first time that this happens."""
    words = list(re.finditer(r"\S+", text))
    seen = set()
    for first in range(len(words) - PASSAGE + 1):
        passage = tuple(word[0].casefold() for word in words[first : first + PASSAGE])
        if passage in seen:
            return words[first].start()
        seen.add(passage)
    return None
