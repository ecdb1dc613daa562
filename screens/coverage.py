"""How well a run covers the attribute tables: accepted samples against the expected number, by value and by pair."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError
from ..core.loading import parse_recipe
from ..core.types import Persona, Value
from ..prompts.attributes import AttributeTables, load_attributes
from ..prompts.joint import Floats, Joint
from ..store.file.database import Store
from ..store.queries.coverage import accepted_personas, count_accepted
from ..store.records.runs import Run

LEAST = 10.0
"""Cells with a smaller wanted count are not judged: chance alone leaves many of them empty."""
ENOUGH = 0.95
"""The share of its wanted count from which a cell is covered."""

Pair = tuple[str, str]
Counts = NDArray[np.int64]


class ValueCoverage(Value):
    """A value of an attribute."""

    value: str
    """the value"""
    wanted: float
    """expected samples, according to the tables"""
    achieved: int
    """accepted samples"""


class AttributeCoverage(Value):
    """An attribute, with its values in the order of the tables."""

    attribute: str
    """the attribute's name"""
    entropy: float
    """Shannon entropy of the accepted samples' values, in bits"""
    wanted_entropy: float
    """that of the tables"""
    values: tuple[ValueCoverage, ...]
    """its values"""


class PairCoverage(Value):
    """Two attributes: of their cells, which are pairs of values, those whose wanted count is at least 10."""

    first: str
    """the attribute that is drawn first"""
    second: str
    """the other attribute"""
    cells: int
    """pairs of values with a wanted count of at least 10"""
    covered: int
    """those of them with at least 95 % of it"""


class ShortCell(Value):
    """A pair of values that has less than 95 % of its wanted count."""

    values: dict[str, str]
    """attribute → value"""
    wanted: float
    """expected samples, according to the tables"""
    achieved: int
    """accepted samples"""


class Coverage(Value):
    """Wanted and achieved coverage of a run. Samples that a top-up added do not raise the wanted counts."""

    wanted_samples: int
    """accepted samples that were drawn from the tables; the wanted counts add up to it"""
    topped_up: int
    """accepted samples that a top-up added"""
    attributes: tuple[AttributeCoverage, ...]
    """the attributes of the tables"""
    pairs: tuple[PairCoverage, ...]
    """every pair of attributes"""
    cells: int
    """cells of all pairs with a wanted count of at least 10"""
    covered: int
    """those of them with at least 95 % of it"""
    short: tuple[ShortCell, ...]
    """the others, the largest gap first"""


@dataclass(frozen=True)
class Cells:
    """The accepted samples by pair of attributes, beside the shares that the tables expect of `wanted_samples`."""

    joint: Joint
    wanted_samples: int
    counts: Mapping[Pair, Counts]

    def wanted(self, pair: Pair) -> Floats:
        """The wanted count of each cell."""
        return self.joint.pairs[pair] * self.wanted_samples

    def missing(self, pair: Pair) -> Counts:
        """How many samples each cell lacks; 0 for those with a wanted count below LEAST."""
        wanted = self.wanted(pair)
        # The subtracted billionth keeps a product such as 0.95 * 20 from being rounded up to 20.
        lacking = np.ceil(ENOUGH * wanted - 1e-9).astype(np.int64) - self.counts[pair]
        missing: Counts = np.where(wanted >= LEAST, lacking, 0).clip(min=0)
        return missing

    def short(self, pair: Pair) -> set[tuple[int, int]]:
        """The (row, column) of each cell that lacks samples."""
        return {(int(row), int(column)) for row, column in np.argwhere(self.missing(pair) > 0)}

    def counts_of(self, attribute: str) -> Counts:
        """Accepted samples by value of one attribute."""
        pair = next(pair for pair in self.counts if attribute in pair)
        counts: Counts = self.counts[pair].sum(axis=1 - pair.index(attribute))
        return counts


def tables_of(run: Run) -> AttributeTables:
    """The tables that the run's personas were drawn from. Raises InputError if there were none or they have changed."""
    texts = run.identity.get("texts")
    used = texts.get("attributes") if isinstance(texts, dict) else None
    if used is None:
        raise InputError(f"the queries of run {run.id} were not drawn from attribute tables, so no coverage is wanted")
    recipe = parse_recipe(run.recipe, run.folder, source=f"the recipe of run {run.id}")
    if recipe.personas:
        raise InputError(f"the personas of run {run.id} come from {recipe.personas}, so no coverage is wanted")
    tables = load_attributes(recipe.attributes, recipe.folder)
    if tables.digest != used:
        raise InputError(
            f"the attribute tables are not those that run {run.id} was drawn from",
            where=recipe.attributes,
            todo="restore the file as it was, or start a new run with --new",
        )
    return tables


def cells_of(store: Store, run_id: str, joint: Joint) -> Cells:
    """The cells of a run as it stands."""
    return count_cells(joint, accepted_personas(store, run_id), count_accepted(store, run_id).drawn)


def count_cells(joint: Joint, personas: Iterable[Persona], wanted_samples: int) -> Cells:
    """A persona with a value that is not in the tables counts for none of that value's pairs."""
    numbers = {name: {value: n for n, value in enumerate(values)} for name, values in joint.values.items()}
    known = [[places.get(persona.get(name, ""), -1) for name, places in numbers.items()] for persona in personas]
    table = np.array(known, dtype=np.int64).reshape(-1, len(numbers))
    names = list(numbers)
    counts = {}
    for pair, shares in joint.pairs.items():
        both = table[:, [names.index(name) for name in pair]]
        both = both[(both >= 0).all(axis=1)]
        flat = np.bincount(both[:, 0] * shares.shape[1] + both[:, 1], minlength=shares.size)
        counts[pair] = flat.reshape(shares.shape)
    return Cells(joint, wanted_samples, counts)


def measure_coverage(cells: Cells, topped_up: int = 0) -> Coverage:
    """The figures of a report."""
    pairs = tuple(_pair(cells, pair) for pair in cells.counts)
    return Coverage(
        wanted_samples=cells.wanted_samples,
        topped_up=topped_up,
        attributes=tuple(_attribute(cells, name) for name in cells.joint.values),
        pairs=pairs,
        cells=sum(pair.cells for pair in pairs),
        covered=sum(pair.covered for pair in pairs),
        short=tuple(sorted(_short(cells), key=lambda cell: cell.achieved - cell.wanted)),
    )


def entropy(counts: Floats | Counts) -> float:
    """Shannon entropy in bits; 0 without any."""
    shares = counts[counts > 0] / max(counts.sum(), 1e-300)
    return float(-(shares * np.log2(shares)).sum()) + 0.0


def _pair(cells: Cells, pair: Pair) -> PairCoverage:
    judged = int((cells.wanted(pair) >= LEAST).sum())
    return PairCoverage(first=pair[0], second=pair[1], cells=judged, covered=judged - len(cells.short(pair)))


def _attribute(cells: Cells, name: str) -> AttributeCoverage:
    shares, counts = cells.joint.single[name], cells.counts_of(name)
    lines = zip(cells.joint.values[name], shares * cells.wanted_samples, counts, strict=True)
    return AttributeCoverage(
        attribute=name,
        entropy=entropy(counts),
        wanted_entropy=entropy(shares),
        values=tuple(ValueCoverage(value=v, wanted=round(float(w), 3), achieved=int(n)) for v, w, n in lines),
    )


def _short(cells: Cells) -> Iterator[ShortCell]:
    for pair, counts in cells.counts.items():
        wanted, (first, second) = cells.wanted(pair), pair
        for row, column in sorted(cells.short(pair)):
            values = {first: cells.joint.values[first][row], second: cells.joint.values[second][column]}
            yield ShortCell(
                values=values, wanted=round(float(wanted[row, column]), 3), achieved=int(counts[row, column])
            )
