"""Model text on a page: invisible characters, bidi marks and control codes are made visible."""

import re

from ..core.characters import BIDI, INVISIBLE, code_point

_STEERING = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{BIDI}{INVISIBLE}\ud800-\udfff\ufffe]")

_FOLDERS = re.compile(r"(?<=')(?:/|[A-Za-z]:\\)[^']*[/\\](?=[^'/\\]*')")


def visible(text: str) -> str:
    """Text with control codes as their pictures (␛), and bidi marks, invisible characters and the like as ‹U+202E›."""
    return _STEERING.sub(_picture, text.replace("\r\n", "\n"))


def _picture(found: re.Match[str]) -> str:
    code = ord(found[0])
    return chr(0x2400 + code) if code < 0x20 else code_point(found[0])


def without_folders(change: str) -> str:
    """A changed setting without the folders of the files it names, which are not part of the change."""
    return _FOLDERS.sub("", change)
