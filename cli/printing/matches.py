"""Prints what decontamination found: each text beside the benchmark's, with the words in common in bold."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from rich.console import Console
from rich.text import Text

from ...core.word_diff import word_diff
from ...screens.matches import Decontamination, Match, NetScore
from .layout import GAP, columns
from .text import one_line

LONGEST = 400
"""Characters that are shown of a text."""


def print_comparison(console: Console, found: Decontamination, limit: int) -> None:
    """The counts, then the first matches."""
    against = ", ".join(found.against)
    console.print(f"{found.compared:,} texts of {found.of} compared with {found.references:,} of {against}")
    allowed = f", {found.allowed:,} allowed" if found.allowed else ""
    console.print(f"{len(found.matches):,} matches{allowed}")
    for net, count in found.nets.items():
        console.print(f"  {net:<12}{count:>7,} texts")
    for match in found.matches[:limit]:
        console.print()
        for line in _side_by_side(console, match):
            console.print(line, soft_wrap=True)
    if len(found.matches) > limit:
        console.print(f"\nand {len(found.matches) - limit:,} more; --limit shows more, --json prints all")


def print_scores(console: Console, scores: Sequence[NetScore]) -> None:
    """A table of recall and precision, a line for each kind of copy and net."""
    if scores:
        console.print(f"{scores[0].planted:,} copies of each kind, {scores[0].own:,} of the run's own queries")
    rows = [
        [
            Text(score.copies),
            Text(score.net),
            *map(
                Text,
                (
                    f"{score.changed:.0%}",
                    f"{score.recall:.1%}",
                    "–" if score.precision is None else f"{score.precision:.1%}",
                    f"{score.flagged:,}",
                ),
            ),
        ]
        for score in scores
    ]
    for line in columns(console, ("copies", "net"), ("words changed", "recall", "precision", "own flagged"), rows):
        console.print(line)


def _side_by_side(console: Console, match: Match) -> Iterator[Text]:
    width = max((console.width - GAP) // 2, 20)
    nets = ", ".join(f"{net} {score:.2f}" for net, score in match.nets.items())
    yield Text.assemble((match.hash, "bold"), f"  {nets}")
    own, other = f"{match.where} {match.part}", f"{match.reference.where} {match.reference.kind}"
    yield _joined(Text(one_line(own, width), style="dim"), Text(one_line(other, width), style="dim"), width)
    left, right = _marked(_beginning(match.text), _beginning(match.reference.text))
    for line, beside in zip_longest(left.wrap(console, width), right.wrap(console, width), fillvalue=Text()):
        yield _joined(line, beside, width)


def _joined(left: Text, right: Text, width: int) -> Text:
    left = left.copy()
    left.rstrip()
    left.pad_right(width + GAP - left.cell_len)
    joined = left + right
    joined.rstrip()
    return joined


def _beginning(text: str) -> str:
    return one_line(text, LONGEST)


def _marked(text: str, reference: str) -> tuple[Text, Text]:
    left, right = Text(), Text()
    for change, words in word_diff(reference, text):
        if change != "in":
            right.append(words, style="bold" if change == "same" else "")
        if change != "out":
            left.append(words, style="bold" if change == "same" else "")
    return left, right
