"""Problems in a settings file, each with its location, raised together as one error."""

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from .errors import SettingsError


@dataclass(frozen=True, order=True)
class Problem:
    """One problem: the file or flag, the line (0 for none), the dotted key (empty for none), and what is wrong."""

    source: str
    line: int
    key: str
    what: str

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}" if self.line else self.source
        return ": ".join(part for part in (place, self.key, self.what) if part)


def raise_problems(problems: Collection[Problem], thing: str, error: type[SettingsError] = SettingsError) -> None:
    """Raises one error with all problems, sorted by line; does nothing if there are none."""
    lines = [str(problem) for problem in sorted(set(problems))]
    if len(lines) == 1:
        raise error(lines[0])
    if lines:
        raise error("\n".join([f"{thing} has {len(lines)} problems", *(f"  {line}" for line in lines)]))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word closest to `word`; None if none is close."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return by_lower[close[0]] if close else None


def suggestion(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown word: the closest known word, else all of them."""
    names = list(known)
    close = nearest(word, names)
    if close is not None:
        return f"; did you mean {close}?"
    return f"; known: {', '.join(names)}" if names else "; none exist"
