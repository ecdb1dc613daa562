"""Where a reply broke, for the outcomes that happen at one place."""

import pytest

from muser.core.breakage import find_break
from muser.core.types import Outcome

SENTENCE = "Drink warm water with honey and rest. "


@pytest.mark.parametrize(
    ("text", "outcome", "rest"),
    [
        ("It stops in the mid", "truncated", ""),
        ('{"rationale": "We' + " " * 50, "whitespace", " " * 50),
        ('\n{"rationale": We should ask}', "malformed", "We should ask}"),
        (f"Yes. {SENTENCE * 3}", "loop", f"{SENTENCE * 2}"),
    ],
)
def test_the_place_is_where_the_usable_part_ends(text: str, outcome: Outcome, rest: str) -> None:
    place = find_break(text, outcome)
    assert place is not None
    assert text[place:] == rest


@pytest.mark.parametrize(
    ("text", "outcome"),
    [("fine", "ok"), ("no", "too_short"), ("", "empty"), ("[" * 200_000, "malformed"), ("東京" * 90, "loop")],
)
def test_a_fault_without_one_place_has_none(text: str, outcome: Outcome) -> None:
    assert find_break(text, outcome) is None
