"""What of a model's text reaches a terminal."""

import json

import pytest

from muser.cli.printing.console import json_text
from muser.cli.printing.text import one_line, plain

from ...growth import LINEAR, growth


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("a\x1b[31mred\x1b[0m", "ared"),
        ("\x9b31mred", "red"),
        ("\x1b]0;new title\x07text", "text"),
        ("\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\", "click"),
        ("\x1bP$q\x1b\\dcs", "dcs"),
        ("\x1b]52;c;never closed", "52;c;never closed"),
        ("\x1bc\x1b(B\x1b7reset", "reset"),
        ("hidden\roverwritten", "hidden\noverwritten"),
        ("a\r\nb\x85c\u2028d\x0be", "a\nb\nc\nd\ne"),
        ("bell\x07 back\b\b\x00\x7f", "bell back"),
        ("\u202edesrever\u202c \u2066isolate\u2069\u200f\u061c", "desrever isolate"),
        ("lone \ud800 surrogate", "lone \ufffd surrogate"),
        ("tabs\tand\nlines stay, as do 火 and é and 👩‍⚕️", "tabs\tand\nlines stay, as do 火 and é and 👩‍⚕️"),
    ],
)
def test_control_codes_and_bidi_marks_are_stripped(hostile: str, harmless: str) -> None:
    assert plain(hostile) == harmless


def test_no_control_code_survives_whatever_precedes_it() -> None:
    every = [chr(n) for n in range(0x110000) if n < 0x100 or 0x2000 <= n < 0x2070]
    left = set(plain("".join(every))) | {c for a in ("\x1b", "\x9b") for b in every for c in plain(f"{a}{b}x")}
    assert not {c for c in left if (ord(c) < 0x20 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0}


@pytest.mark.parametrize("hostile", ["\x9d", "\x90x", "\x9b0", "\x1b]", "\x1b\x9d\x9b", "\U000e0041"])
def test_the_time_to_clean_a_text_grows_as_the_text_does(hostile: str) -> None:
    assert growth(lambda size: plain(hostile * size), 20_000) < LINEAR


def test_invisible_characters_are_shown() -> None:
    assert plain("a\u200bb\u2060c\ufeffd\u00ade\U000e0041f\u3164") == (
        "a‹U+200B›b‹U+2060›c‹U+FEFF›d‹U+00AD›e‹U+E0041›f‹U+3164›"
    )


def test_invisible_characters_are_escaped_in_json() -> None:
    hidden = "a\u200b\u00ad\U000e0041\u202e\ud800b"
    shown = json_text({"text": hidden})
    assert shown.isascii()
    assert json.loads(shown) == {"text": hidden}


def test_one_line_is_cut_where_it_is_too_long() -> None:
    assert one_line("a  b\nc", 10) == "a b c"
    assert one_line("one two three", 8) == "one two…"
