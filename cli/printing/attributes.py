"""What the terminal shows of attribute tables: sizes and shares, drawn personas, pairs of values."""

from typing import TYPE_CHECKING

from rich.text import Text

from .console import say
from .layout import columns, paragraph

if TYPE_CHECKING:
    from rich.console import Console

    from ..outputs import AttributesCheck, DrawnPersona, PairShares


def print_check(console: "Console", checked: "AttributesCheck") -> None:
    """The size of every attribute, and its most and least frequent values."""
    sizes = [len(one.shares) for one in checked.attributes]
    said = f"{checked.file}: {len(sizes)} attributes with {sum(sizes):,} values; each can be drawn, with no dead ends"
    console.print(Text(said, style="green"), soft_wrap=True)
    rows = []
    for one in checked.attributes:
        ranked = sorted(one.shares, key=lambda value: -one.shares[value])
        ends = [ranked[0], ranked[-1]]
        cells = (one.attribute, *ends, f"{len(ranked):,}", *(_percent(one.shares[end]) for end in ends))
        rows.append([Text(cell) for cell in cells])
    for line in columns(console, ("attribute", "most frequent", "rarest"), ("values", "most", "least"), rows):
        console.print(line)
    strata = f"every prefix of a run is balanced over {', '.join(checked.stratify)}" if checked.stratify else ""
    ruled = f"{checked.never:,} combinations are never drawn" if checked.never else ""
    if said := "; ".join(filter(None, (strata, ruled))):
        console.print(Text(said, style="dim"), soft_wrap=True)


def print_personas(console: "Console", drawn: "list[DrawnPersona]") -> None:
    """Each persona in the words of its prompt."""
    for one in drawn:
        console.print(Text(one.key, style="bold"))
        width = max(map(len, one.texts)) + 4
        for name, text in one.texts.items():
            for line in paragraph(console, Text(text), by=width, label=Text(f"  {name}", style="dim")):
                console.print(line)


def print_pairs(console: "Console", found: "PairShares", limit: int) -> None:
    """The most frequent pairs, one per line."""
    rows = [
        [*map(Text, pair.values), Text(_percent(pair.share)), Text(f"{pair.ratio:.2f}")] for pair in found.pairs[:limit]
    ]
    for line in columns(console, found.attributes, ("share", "ratio"), rows):
        console.print(line)
    never = sum(not pair.share for pair in found.pairs)
    say(f"{len(rows):,} of {len(found.pairs):,} pairs; {never:,} are never drawn")


def _percent(share: float) -> str:
    return f"{share:.2%}".replace("%", " %")
