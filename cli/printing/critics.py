"""What a run's critics did, in 80 columns."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from .layout import columns
from .text import plain

if TYPE_CHECKING:
    from ...store.queries.critics import CriticAccount
    from ..outputs import CriticsReport

LEAST = 5  # answers of a value that is shown
VALUES = 8  # most values of an attribute that are shown


def print_critics(console: Console, found: "CriticsReport") -> None:
    """A table for each of the measures that there are."""
    _table(console, "verdicts on first answers", ("answers", "revise"), (_verdicts(one) for one in found.critics))
    measures = ("of new words", "by chance", "taken up", "added if revise", "if pass")
    _table(console, "from plan to answer", measures, (_words(one) for one in found.critics))
    if found.stability:
        rows = ((s.critic, f"{s.asked_again:,}", _percent(s.same, s.asked_again)) for s in found.stability)
        _table(console, "asked again", ("verdicts", "the same"), rows)
    if found.planted:
        faults = (
            (f"{p.critic}: {p.facet}", f"{p.found}/{p.faults}", f"{p.revised}/{p.faults}", f"{p.passed}/{p.sound}")
            for p in found.planted
        )
        _table(console, "planted faults", ("found", "revise", "sound passed"), faults)
    for attribute in dict.fromkeys(name for one in found.critics for name in one.by):
        names = ("answers", *(one.critic for one in found.critics))
        _table(console, f"revise, by {attribute}", names, _by_value(found.critics, attribute))


def _table(console: Console, title: str, names: Sequence[str], rows: Iterator[tuple[str, ...]]) -> None:
    cells = [[Text(plain(cell)) for cell in row] for row in rows]
    if not cells:
        return
    for line in columns(console, (title,), [plain(name) for name in names], cells):
        console.print(line)
    console.print()


def _verdicts(one: "CriticAccount") -> tuple[str, ...]:
    return one.critic, f"{one.first.answers:,}", _percent(one.first.revised, one.first.answers)


def _words(one: "CriticAccount") -> tuple[str, ...]:
    shares = (one.from_plan, one.by_chance, one.taken_up)
    added = (one.added_if_revise, one.added_if_pass)
    return (
        one.critic,
        *("–" if share is None else f"{share:.0%}" for share in shares),
        *("–" if words is None else f"{words:+,.0f}" for words in added),
    )


def _by_value(accounts: "Sequence[CriticAccount]", attribute: str) -> Iterator[tuple[str, ...]]:
    values = dict.fromkeys(value for one in accounts for value in one.by.get(attribute, {}))
    for value in list(values)[:VALUES]:
        said = [one.by.get(attribute, {}).get(value) for one in accounts]
        answers = max(revisions.answers for revisions in said if revisions)
        if answers >= LEAST:
            shares = (_percent(one.revised, one.answers) if one else "–" for one in said)
            yield value, f"{answers:,}", *shares


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "–"
