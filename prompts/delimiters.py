"""Escapes the tags and turns that mark the parts of a prompt, so that values cannot forge them."""

import re
from collections.abc import Iterable
from typing import Any

from ..core.characters import BIDI, INVISIBLE

_TAG = re.compile(r"</?([A-Za-z][\w-]*)")
# Possessive quantifiers (`*+`), so that long runs of white space cost linear time.
_GAP = rf"[\s{BIDI}{INVISIBLE}]*+"
_AROUND = rf"[ \t*_#{BIDI}{INVISIBLE}]*+"
_TURN = re.compile(
    rf"(?:^|(?<=[\r\x0b\x0c\x85\u2028\u2029]))(?={_AROUND}(?:system|user|assistant){_AROUND}:)",
    re.MULTILINE | re.IGNORECASE,
)


def tags_of(template: str) -> frozenset[str]:
    """The names of the tags in a template's text."""
    return frozenset(_TAG.findall(template))


def escape_tags(value: Any, tags: Iterable[str]) -> Any:
    """The value with `&lt;` in place of the `<` of these tags, in all of its texts."""
    if not tags:
        return value
    if isinstance(value, str):
        names = "|".join(map(re.escape, sorted(tags)))
        return re.sub(rf"<(?={_GAP}/?{_GAP}(?:{names})\b)", "&lt;", value, flags=re.IGNORECASE)
    if isinstance(value, dict):
        return {key: escape_tags(part, tags) for key, part in value.items()}
    return [escape_tags(part, tags) for part in value] if isinstance(value, list | tuple) else value


def quote_turns(text: str) -> str:
    """The text with `> ` before each line that looks like the start of a turn, such as `assistant: …`."""
    return _TURN.sub("> ", text)
