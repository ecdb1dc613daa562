"""Where a reply broke, for the outcomes that happen at one place."""

import pytest

from muser.core.breakage import AFTER, BEFORE, find_break, quote_break
from muser.core.types import Outcome

SENTENCE = "Drink warm water with honey and rest. "


@pytest.mark.parametrize(
    ("text", "outcome", "rest"),
    [
        ("It stops in the mid", "truncated", ""),
        ('{"rationale": "We' + " " * 50, "whitespace", " " * 50),
        ('\n{"rationale": We should ask}', "malformed", "We should ask}"),
        ('Here it is: {"verdict": "pass"', "malformed", ""),
        ('{"verdict": "pass"} as asked', "malformed", "as asked"),
        (f"Yes. {SENTENCE * 3}", "loop", f"{SENTENCE * 2}"),
        ("東京" * 90, "loop", "東京" * 89),
    ],
)
def test_the_place_is_where_the_usable_part_ends(text: str, outcome: Outcome, rest: str) -> None:
    place = find_break(text, outcome)
    assert place is not None
    assert text[place:] == rest


@pytest.mark.parametrize(
    ("text", "outcome"),
    [("fine", "ok"), ("no", "too_short"), ("", "empty"), ("[" * 200_000, "malformed"), (SENTENCE * 2, "loop")],
)
def test_a_fault_without_one_place_has_none(text: str, outcome: Outcome) -> None:
    assert find_break(text, outcome) is None


def test_a_quotation_is_cut_to_what_is_near_the_break() -> None:
    said, rest = "x" * 1000, "y" * 1000
    quoted = quote_break(f'"{said}"{rest}', "malformed")
    assert quoted is not None
    assert quoted.before == "… " + f'{said}"'[-BEFORE:]
    assert quoted.after == rest[:AFTER] + " …"
    assert quote_break("fine", "ok") is None
