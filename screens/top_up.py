"""The personas that fill what a run's coverage lacks, each chosen to fill as many short cells as one persona can."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ..core.types import Persona
from .coverage import Cells, Counts, Pair

Contradicts = Callable[[Persona], bool]
Chosen = dict[str, int]
"""Attribute → the number of its value."""


def plan_top_up(cells: Cells, contradicts: Contradicts) -> Iterator[Persona]:
    """Personas until no cell with a wanted count is short. Equal cells give equal personas: nothing is random.

    `contradicts` says whether a persona, of which attributes may be missing, breaks a rule of the tables.
    """
    gaps = _Gaps(cells, contradicts)
    while (cell := gaps.widest()) is not None:
        chosen = gaps.complete(cell)
        if chosen is None:
            raise LookupError(f"no persona has the values {gaps.named(cell)}, although the tables expect some")
        gaps.fill(chosen)
        yield gaps.named(chosen)


class _Gaps:
    """How many samples each cell lacks, kept up to date with the personas chosen."""

    def __init__(self, cells: Cells, contradicts: Contradicts) -> None:
        self.values, self.contradicts = cells.joint.values, contradicts
        self.missing: dict[Pair, Counts] = {pair: cells.missing(pair) for pair in cells.counts}
        self.possible: dict[Pair, NDArray[np.bool_]] = {pair: cells.joint.pairs[pair] > 0 for pair in cells.counts}
        self.has = {name: cells.counts_of(name).astype(np.float64) for name in self.values}
        self.shares = {name: np.maximum(cells.joint.single[name], 1e-300) for name in self.values}
        self.pairs = tuple(cells.counts)
        # A pair in the other order is a view of the same numbers.
        self.missing |= {(b, a): gaps.T for (a, b), gaps in self.missing.items()}
        self.possible |= {(b, a): there.T for (a, b), there in self.possible.items()}

    def widest(self) -> Chosen | None:
        """The cell that lacks the most samples; None if no cell is short."""
        pair = max(self.pairs, key=lambda pair: self.missing[pair].max())
        gaps = self.missing[pair]
        if not gaps.max():
            return None
        row, column = np.unravel_index(gaps.argmax(), gaps.shape)
        return {pair[0]: int(row), pair[1]: int(column)}

    def complete(self, chosen: Chosen) -> Chosen | None:
        """The values chosen and one for every other attribute; None if they allow none."""
        left = [name for name in self.values if name not in chosen]
        if not left:
            return chosen
        gains = {name: self._gains(name, chosen) for name in left}
        name = max(left, key=lambda name: gains[name].max())
        # Of equal gains, the value that is rarest beside its share comes first, so that a top-up skews no attribute.
        for value in np.lexsort((self.has[name] / self.shares[name], -gains[name])):
            more = {**chosen, name: int(value)}
            if gains[name][value] < 0 or self.contradicts(self.named(more)):
                continue
            if found := self.complete(more):
                return found
        return None

    def fill(self, chosen: Chosen) -> None:
        """Counts a persona."""
        for name, value in chosen.items():
            self.has[name][value] += 1
        for a, b in self.pairs:
            gaps = self.missing[a, b]
            gaps[chosen[a], chosen[b]] = max(gaps[chosen[a], chosen[b]] - 1, 0)

    def named(self, chosen: Chosen) -> Persona:
        """The values by their names, in the tables' order."""
        return {name: values[chosen[name]] for name, values in self.values.items() if name in chosen}

    def _gains(self, name: str, chosen: Chosen) -> Counts:
        """By value of the attribute: how many short cells it makes with those chosen; -1 if one excludes it."""
        gains = np.zeros(len(self.values[name]), dtype=np.int64)
        for other, value in chosen.items():
            gains += self.missing[other, name][value] > 0
        for other, value in chosen.items():
            gains[~self.possible[other, name][value]] = -1
        return gains
