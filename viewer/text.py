"""Model text on a page: characters that turn a line around or steer a terminal are shown instead of obeyed."""

import re

# Joiners of scripts and emoji are not among them: without those, honest text would be spelt wrongly.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe]")

_FOLDERS = re.compile(r"(?<=')(?:/|[A-Za-z]:\\)[^']*[/\\](?=[^'/\\]*')")


def visible(text: str) -> str:
    """Text with control codes as their pictures (␛), and bidi marks, lone surrogates and the like as ‹U+202E›."""
    return _STEERING.sub(_picture, text.replace("\r\n", "\n"))


def _picture(found: re.Match[str]) -> str:
    code = ord(found[0])
    return chr(0x2400 + code) if code < 0x20 else f"‹U+{code:04X}›"


def without_folders(change: str) -> str:
    """A changed setting without the folders of the files that it names: where they lie is no part of what changed."""
    return _FOLDERS.sub("", change)
