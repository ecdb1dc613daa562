"""What `muser coverage` shows: cells covered, entropy by attribute, the largest gaps, and the queries' diversity."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from .layout import columns, paragraph
from .progress import share

if TYPE_CHECKING:
    from ...screens.coverage import Coverage
    from ...screens.diversity import Diversity
    from ..outputs import CoverageReport

GAPS = 10
"""Short cells listed without --pairs."""


def print_coverage(console: Console, report: "CoverageReport", *, pairs: bool) -> None:
    """With `pairs`, every pair of attributes and every short cell."""
    coverage = report.coverage
    for line in _head(report):
        console.print(Text(line))
    console.print()
    _table(console, ("attribute",), ("values", "entropy", "wanted"), _attributes(coverage))
    if pairs:
        console.print()
        _table(console, ("pair of attributes",), ("cells", "covered"), _pairs(coverage))
    if coverage.short:
        console.print()
        shown = coverage.short if pairs else coverage.short[:GAPS]
        rows = [
            [
                " and ".join(f"{name}={value}" for name, value in cell.values.items()),
                f"{cell.wanted:,.1f}",
                f"{cell.achieved:,}",
            ]
            for cell in shown
        ]
        _table(console, ("short of",), ("wanted", "achieved"), rows)
        if hidden := len(coverage.short) - len(shown):
            console.print(Text(f"and {hidden:,} more; --pairs lists all", style="dim"))
    console.print()
    _print_diversity(console, report.diversity)


def _head(report: "CoverageReport") -> Iterator[str]:
    coverage = report.coverage
    added = f", {coverage.topped_up:,} added by top-ups" if coverage.topped_up else ""
    yield f"{report.run}: {coverage.wanted_samples:,} accepted samples drawn from the tables{added}"
    if coverage.cells:
        covered = 100 * coverage.covered / coverage.cells
        yield f"{coverage.covered:,} of {coverage.cells:,} pairs of values are covered ({covered:.1f} %)"
    else:
        yield "no pair of values is wanted 10 times or more: too few samples to judge pairs"


def _attributes(coverage: "Coverage") -> Iterator[list[str]]:
    for one in coverage.attributes:
        used = sum(value.achieved > 0 for value in one.values)
        yield [
            one.attribute,
            f"{used:,} of {len(one.values):,}",
            f"{one.entropy:.2f} bits",
            f"{one.wanted_entropy:.2f}",
        ]


def _pairs(coverage: "Coverage") -> Iterator[list[str]]:
    for pair in coverage.pairs:
        yield [
            f"{pair.first} × {pair.second}",
            f"{pair.cells:,}",
            share(pair.covered, pair.cells) if pair.cells else "–",
        ]


def _print_diversity(console: Console, diversity: "Diversity") -> None:
    console.print(Text(f"diversity of {diversity.texts:,} queries", style="bold"))
    distinct = ", ".join(f"{value:.3f} ({n} word{'s' * (n > 1)})" for n, value in diversity.distinct.items())
    lines = [
        ["distinct n-grams", distinct],
        ["compression ratio", f"{diversity.compression_ratio:.2f}"],
        ["near duplicates", f"{100 * diversity.near_duplicates:.2f} %"],
    ]
    if diversity.vendi is not None:
        lines.append(["Vendi score", f"{diversity.vendi:.1f}"])
    for name, value in lines:
        for line in paragraph(console, Text(value), by=20, label=Text(f"  {name}")):
            console.print(line)
    if diversity.vendi is None:
        from ...core.installation import install_hint

        console.print(Text(f"  for the Vendi score: {install_hint('data')}", style="dim"), soft_wrap=True)


def _table(
    console: Console, left: tuple[str, ...], right: tuple[str, ...], rows: "Iterator[list[str]] | list[list[str]]"
) -> None:
    for line in columns(console, left, right, [[Text(cell) for cell in row] for row in rows]):
        console.print(line)
