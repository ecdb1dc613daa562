"""Model text in a terminal: what of it may be printed."""

import re

# Whole escape sequences go first, so that nothing of "ESC [ 31 m" or of a window title stays behind as text.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"  # OSC, DCS, SOS, PM, APC
    r"|\x1b[ -/]*[0-~]"
)
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_LINES = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def plain(text: str) -> str:
    """Text without control codes and bidi marks; what is left can neither move the cursor nor reorder a line."""
    text = _CONTROLS.sub("", _LINES.sub("\n", _SEQUENCES.sub("", text)))
    return _SURROGATES.sub("\ufffd", text)


def one_line(text: str, width: int) -> str:
    """The beginning of a text on one line of at most `width` characters."""
    joined = " ".join(plain(text).split())
    return joined if len(joined) <= width else joined[: max(width - 1, 0)].rstrip() + "…"
