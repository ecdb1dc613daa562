"""Characters of a text that nobody sees, as classes for regular expressions; model text can carry words in them."""

BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Marks that turn a line around."""

# Unicode's Default_Ignorable_Code_Point, without what scripts and emoji are spelt with: joiners, variation selectors
# and the marks of Khmer and Mongolian. Tag characters and the variation selectors beyond 16 can spell whole sentences.
INVISIBLE = (
    "\u00ad\u115f\u1160\u180e\u200b\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff"
)
"""Characters without a picture: zero-width spaces, soft hyphens, tag characters and the like."""


def code_point(character: str) -> str:
    """How a character is shown instead of obeyed: ‹U+200B›."""
    return f"‹U+{ord(character):04X}›"
