"""Invisible characters as classes for regular expressions: model text can hide whole sentences in them."""

BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Marks that change the direction of text (UAX #9)."""

# Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt) without the characters that scripts and emoji need:
# joiners, the first 16 variation selectors, and the marks of Khmer and Mongolian. Tag characters and the other
# variation selectors can encode whole sentences.
INVISIBLE = (
    "\u00ad\u115f\u1160\u180e\u200b\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff"
)
"""Characters that render as nothing: zero-width spaces, soft hyphens, tag characters and so on."""


def code_point(character: str) -> str:
    """A visible replacement for an invisible character, such as ‹U+200B›."""
    return f"‹U+{ord(character):04X}›"
