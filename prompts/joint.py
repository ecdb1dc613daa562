"""How often each value of an attribute, and each pair of values, is to be expected of attribute tables: exactly."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from .attributes import AttributeTables
from .sampling import Machine, State, machine_of

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Joint:
    """Shares by attribute, and by pair of attributes: the rows are the values of the one that is drawn first."""

    values: dict[str, tuple[str, ...]]
    single: dict[str, Floats]
    pairs: dict[tuple[str, str], Floats]

    def shares(self, first: str, second: str) -> dict[tuple[str, str], float]:
        """Pair of values → its share, for two attributes in any order."""
        table = self.pairs[first, second] if (first, second) in self.pairs else self.pairs[second, first].T
        lines = zip(self.values[first], table, strict=True)
        return {(a, b): float(p) for a, line in lines for b, p in zip(self.values[second], line, strict=True)}


@dataclass
class _Alike:
    """The personas that share a state: how probable they are together, and by value of each attribute drawn."""

    probability: float = 0.0
    by_value: dict[str, Floats] = field(default_factory=dict)


def joint_of(tables: AttributeTables) -> Joint:
    """The shares that drawing from the tables for ever would approach.

    They are computed one attribute after the other. Personas in one state have the same future and are taken together,
    so the work grows with the number of states and not with that of personas.
    """
    machine = machine_of(tables)
    values = {name: tuple(choice.value for choice in choices) for name, choices in tables.choices.items()}
    pairs = {(a, b): np.zeros((len(values[a]), len(values[b]))) for a, b in combinations(values, 2)}
    states = {State(): _Alike(1.0)}
    for name in values:
        reached: dict[State, _Alike] = {}
        for state, alike in states.items():
            shares = _shares(machine, name, state)
            for earlier, probabilities in alike.by_value.items():
                pairs[earlier, name] += np.outer(probabilities, shares)
            for after, chosen in _states_after(machine, name, state, shares).items():
                _move(alike, reached.setdefault(after, _Alike()), name, shares, chosen)
        states = reached
    single = {name: np.sum([alike.by_value[name] for alike in states.values()], axis=0) for name in values}
    return Joint(values, single, pairs)


def _shares(machine: Machine, name: str, state: State) -> Floats:
    """By value of an attribute: how probable it is in this state."""
    weights = machine.weights(name, state)
    total = sum(weights.values())
    return np.array([weights.get(choice, 0.0) / total for choice in machine.tables.choices[name]])


def _states_after(machine: Machine, name: str, state: State, shares: Floats) -> dict[State, list[int]]:
    """The states that the values of an attribute lead to → the numbers of those values."""
    alike: dict[Hashable, list[int]] = {}
    for number in np.flatnonzero(shares):
        alike.setdefault(machine.effect(name, machine.tables.choices[name][number]), []).append(int(number))
    found: dict[State, list[int]] = {}
    for numbers in alike.values():
        found.setdefault(machine.after(name, state, machine.tables.choices[name][numbers[0]]), []).extend(numbers)
    return found


def _move(source: _Alike, to: _Alike, name: str, shares: Floats, chosen: list[int]) -> None:
    """Adds the personas of `source` that draw one of the chosen values of the attribute."""
    share = float(shares[chosen].sum())
    to.probability += share * source.probability
    for earlier, probabilities in source.by_value.items():
        to.by_value[earlier] = to.by_value.get(earlier, 0) + share * probabilities
    own = to.by_value.setdefault(name, np.zeros(len(shares)))
    own[chosen] += shares[chosen] * source.probability
