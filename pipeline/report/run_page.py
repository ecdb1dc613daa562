"""The report of one run as an HTML file: samples, verdicts, coverage and diversity with pictures, and what it cost."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import StoreError
from ...core.files import open_private
from ...screens.coverage import Cells, Coverage, measure_coverage
from ...screens.diversity import Diversity
from ...store.file.database import Store
from ...store.queries.tallies import tally_run, verdicts_of
from ...store.records.runs import Run
from ...store.records.samples import failures
from . import render
from .blocks import Block, Heading, Paragraph, Picture, Table
from .critics import describe_critics, gather_critics
from .results import run_cost

MOST_VALUES = 40
"""Most values of an attribute in a picture of pairs."""


@dataclass(frozen=True)
class RunCharts:
    """Functions that draw a run's coverage as SVG: each attribute's values, and the pairs of two attributes."""

    value_bars: Callable[[Mapping[str, Sequence[tuple[str, float, int]]]], bytes]
    pair_map: Callable[[Sequence[str], Sequence[str], Sequence[Sequence[int]], set[tuple[int, int]]], bytes]


@dataclass(frozen=True)
class Measured:
    """A run's coverage and diversity. Without cells, `problem` says why its coverage is unknown."""

    diversity: Diversity
    cells: Cells | None = None
    topped_up: int = 0
    problem: str = ""


def write_run_report(store: Store, run: Run, measured: Measured, charts: RunCharts, path: Path) -> None:
    """Replaces the file. Raises StoreError if the disk refuses."""
    images: dict[str, bytes] = {}
    parts = list(_blocks(store, run, measured, charts, images))
    text = render.html(f"Run {run.id}", parts, images)
    try:
        with open_private(path, "wb") as file:
            file.write(text.encode("utf-8", "replace"))
    except OSError as error:
        raise StoreError(f"the report cannot be written: {error.strerror}", where=str(path)) from error


def _blocks(store: Store, run: Run, measured: Measured, charts: RunCharts, images: dict[str, bytes]) -> Iterator[Block]:
    """The page, part by part; adds the pictures that it draws to `images`."""
    if run.simulated:
        yield Paragraph("Simulated: a script replied, not a model; this says nothing about medicine.")
    yield Paragraph(render.DISCLAIMER)
    yield from _samples(store, run.id)
    yield from render.verdict_blocks(verdicts_of(store, run.id))
    yield from describe_critics(gather_critics(store, run.id))
    if measured.cells is not None:
        yield from _coverage(measure_coverage(measured.cells, measured.topped_up))
        yield from _pictures(measured.cells, charts, images)
    else:
        yield Heading("Coverage")
        yield Paragraph(measured.problem)
    yield from _diversity(measured.diversity)
    yield from render.cost_blocks([run_cost(store, run.id, run.id)])


def _samples(store: Store, run_id: str) -> Iterator[Block]:
    tally = tally_run(store, run_id)
    yield Heading("Samples")
    counts = [("samples", tally.samples), ("done", tally.done), ("refined", tally.refined), ("failed", tally.failed)]
    counts.append(("rejected by a screen", tally.rejected))
    yield Table(("", "samples"), tuple((name, f"{count:,}") for name, count in counts))
    found = failures(store, run_id)
    if found:
        lines = ((one.cause_kind, one.node or "–", f"{one.samples:,}", one.example) for one in found)
        yield Table(("failed with", "at", "samples", "for example"), tuple(lines))


def _coverage(coverage: Coverage) -> Iterator[Block]:
    yield Heading("Coverage")
    added = f" A top-up added {coverage.topped_up:,} more." if coverage.topped_up else ""
    yield Paragraph(
        f"{coverage.wanted_samples:,} accepted samples were drawn from the attribute tables.{added} Of the pairs of "
        f"values that should occur at least 10 times among them, {coverage.covered:,} of {coverage.cells:,} have at "
        "least 95 % of that."
    )
    lines = []
    for one in coverage.attributes:
        used = sum(value.achieved > 0 for value in one.values)
        lines.append(
            (one.attribute, f"{used:,} of {len(one.values):,}", f"{one.entropy:.2f}", f"{one.wanted_entropy:.2f}")
        )
    yield Table(("attribute", "values used", "entropy in bits", "wanted"), tuple(lines))
    pairs = sorted((pair for pair in coverage.pairs if pair.cells), key=lambda pair: pair.covered / pair.cells)
    if pairs:
        shares = [(f"{p.first} × {p.second}", f"{p.cells:,}", f"{100 * p.covered / p.cells:.0f} %") for p in pairs]
        yield Table(("pair of attributes", "pairs of values", "covered"), tuple(shares))


def _pictures(cells: Cells, charts: RunCharts, images: dict[str, bytes]) -> Iterator[Block]:
    bars = {}
    for name, values in cells.joint.values.items():
        wanted = cells.joint.single[name] * cells.wanted_samples
        bars[name] = [(v, float(w), int(n)) for v, w, n in zip(values, wanted, cells.counts_of(name), strict=True)]
    images["values"] = charts.value_bars(bars)
    yield Picture("values", "Accepted samples by value of each attribute, with a mark at the wanted number")
    small = [pair for pair in cells.counts if max(cells.counts[pair].shape) <= MOST_VALUES]
    for first, second in sorted(small, key=lambda pair: -len(cells.short(pair)))[:1]:
        rows, columns = cells.joint.values[first], cells.joint.values[second]
        counts = cells.counts[first, second].tolist()
        images["pairs"] = charts.pair_map(rows, columns, counts, cells.short((first, second)))
        yield Paragraph(f"{first} × {second}: the more samples, the darker; framed pairs are short of what is wanted.")
        yield Picture("pairs", f"Accepted samples by {first} and {second}")


def _diversity(diversity: Diversity) -> Iterator[Block]:
    yield Heading("Diversity")
    lines = [("queries measured", f"{diversity.texts:,}")]
    lines += [(f"distinct {n}-grams of words", f"{share:.3f}") for n, share in diversity.distinct.items()]
    lines.append(("compression ratio", f"{diversity.compression_ratio:.2f}"))
    lines.append(("near duplicates", f"{100 * diversity.near_duplicates:.2f} %"))
    if diversity.vendi is not None:
        lines.append(("Vendi score", f"{diversity.vendi:.1f}"))
    yield Table(("", "value"), tuple(lines))
