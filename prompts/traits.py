"""Traits: what a value says of the person, such as their age, and whether several values can be true of one person."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Trait:
    """Either a range of numbers, both ends included, or a set of words."""

    low: float | None = None
    high: float | None = None
    words: tuple[str, ...] = ()

    def meet(self, other: "Trait") -> "Trait | None":
        """What both allow; None if nothing is left."""
        if self.low is not None and other.low is not None and self.high is not None and other.high is not None:
            low, high = max(self.low, other.low), min(self.high, other.high)
            return Trait(low=low, high=high) if low <= high else None
        words = tuple(word for word in self.words if word in other.words)
        return Trait(words=words) if words else None


Traits = Mapping[str, Trait]


def read_trait(given: Any) -> Trait:
    """From a table's `[low, high]`, word, or list of words. ValueError says what is wrong with it."""
    listed = given if isinstance(given, list) else [given]
    if len(listed) == 2 and all(type(end) in (int, float) for end in listed):
        low, high = listed
        if low > high:
            raise ValueError("the range must be [lowest, highest]")
        return Trait(low=low, high=high)
    if listed and all(isinstance(word, str) and word.strip() for word in listed):
        return Trait(words=tuple(listed))
    raise ValueError("must be [lowest, highest], a word, or a list of words")


def narrow(known: Traits, more: Traits) -> dict[str, Trait] | None:
    """What is known of the person once `more` is true of them too; None if that contradicts what was known."""
    together = dict(known)
    for name, trait in more.items():
        left = trait.meet(together[name]) if name in together else trait
        if left is None:
            return None
        together[name] = left
    return together
