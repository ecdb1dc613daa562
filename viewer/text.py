"""Model text on a page: invisible characters, bidi marks and control codes are made visible."""

import re

from markupsafe import Markup

from ..core.characters import BIDI, INVISIBLE, code_point

_STEERING = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{BIDI}{INVISIBLE}\ud800-\udfff\ufffe]")

_UNBROKEN = re.compile(r"(\S{500})")
_FOLDERS = re.compile(r"(?<=')(?:/|[A-Za-z]:\\)[^']*[/\\](?=[^'/\\]*')")


def visible(text: str) -> str:
    """Text with control codes as their pictures (␛), and bidi marks, invisible characters and the like as ‹U+202E›."""
    return _STEERING.sub(_picture, text.replace("\r\n", "\n"))


def _picture(found: re.Match[str]) -> str:
    code = ord(found[0])
    return chr(0x2400 + code) if code < 0x20 else code_point(found[0])


def breakable(text: str) -> Markup:
    """The text with line-break opportunities: Chromium takes 10 s to lay out a word of 100,000 characters without."""
    return Markup("<wbr>").join(filter(None, _UNBROKEN.split(visible(text))))


def without_folders(change: str) -> str:
    """A changed setting without the folders of the files it names, which are not part of the change."""
    return _FOLDERS.sub("", change)
