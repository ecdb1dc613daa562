"""Cleans model text for the terminal."""

import re

from ...core.characters import BIDI, INVISIBLE, code_point

# Whole escape sequences go first, so that nothing of "ESC [ 31 m" or of a window title stays behind as text.
# A string sequence ends where another begins; otherwise many unclosed ones would take quadratic time.
# The forms are those of ECMA-48, sections 5.4 and 5.6.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]"  # CSI
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x90\x98\x9b-\x9f]*+(?:\x07|\x1b\\|\x9c)"  # OSC, DCS, SOS, …
    r"|\x1b[ -/]*+[0-~]"
)
_CONTROLS = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{BIDI}]")
_INVISIBLE = re.compile(f"[{INVISIBLE}]")
_LINES = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def plain(text: str) -> str:
    """Text without control codes and bidi marks, so that it can neither move the cursor nor reorder a line.

    Invisible characters are shown, as ‹U+200B›.
    """
    text = _CONTROLS.sub("", _LINES.sub("\n", _SEQUENCES.sub("", text)))
    text = _INVISIBLE.sub(lambda found: code_point(found[0]), text)
    return _SURROGATES.sub("\ufffd", text)


def one_line(text: str, width: int) -> str:
    """The beginning of a text on one line of at most `width` characters."""
    joined = " ".join(plain(text).split())
    return joined if len(joined) <= width else joined[: max(width - 1, 0)].rstrip() + "…"
