"""Draws personas: one value of every attribute in the table's order, by weight, and never two that contradict.

Seeds are uniform over [0, 2**31), and unlike `random` a draw is the same in every version of Python.
"""

from bisect import bisect_right
from collections.abc import Hashable, Mapping
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from ..core.errors import SettingsError
from ..core.hashing import derive_seed
from ..core.types import Persona
from .attributes import AttributeTables, Choice
from .traits import Trait, Traits, narrow

SEEDS = 2**31


class State(NamedTuple):
    """What later draws depend on: values that rules refer to, and what is known of the person."""

    values: tuple[tuple[str, str], ...] = ()
    traits: tuple[tuple[str, Trait], ...] = ()


class Options(NamedTuple):
    """The choices that a state leaves, and their weights added up."""

    choices: tuple[Choice, ...]
    bounds: tuple[float, ...]


def draw_persona(tables: AttributeTables, seed: int, number: int = 0, draw: int = 1) -> Persona:
    """The persona of a run's sample `number` (from 1), by the run's seed; draw 2 is what replaces a rejected one.

    Stratified attributes depend on the number alone: another draw has the same, and every prefix of a run is balanced
    over them. Number 0 stands for no run: all is drawn by the seed.
    """
    given = _row(tables, seed, number)
    own = derive_seed(seed, f"s{number:06d}") if number else seed
    if draw > 1:
        own = derive_seed(own, "draw", draw)
    spread = dict(zip(tables.stratify, _spread(seed, number, len(tables.stratify)), strict=True)) if number else {}
    machine, persona, state = machine_of(tables), Persona(), _start(tables, given)
    for name in tables.choices:
        chosen = tables.find(name, given[name]) if name in given else None
        if chosen is None:
            options, place = machine.options(name, state), spread.get(name, derive_seed(own, name) / SEEDS)
            at = bisect_right(options.bounds, place * options.bounds[-1], hi=len(options.bounds) - 1)
            chosen = options.choices[at]
        persona[name] = chosen.value
        state = machine.after(name, state, chosen)
    return persona | given


def _row(tables: AttributeTables, seed: int, number: int) -> Persona:
    """The user's row for a sample: the rows in order, then all again from a row that the seed chooses, and so on."""
    if not tables.rows or not number:
        return {}
    repeat, place = divmod(number - 1, len(tables.rows))
    start = derive_seed(seed, "rows", repeat) if repeat else 0
    return tables.rows[(start + place) % len(tables.rows)]


def _start(tables: AttributeTables, given: Persona) -> State:
    """The state before the first draw: what is drawn must fit to a row, also to its later attributes."""
    traits: Traits = {}
    for name, value in given.items():
        # A row that contradicts itself is the user's will.
        traits = narrow(traits, tables.find(name, value).traits) or traits
    return State(tuple(given.items()), tuple(sorted(traits.items())))


def _spread(seed: int, number: int, dimensions: int) -> list[float]:
    """The number's point in an additive recurrence over the golden ratio's generalisation, shifted by the seed.

    Its prefixes fill the unit cube more evenly than random points (M. Roberts, The unreasonable effectiveness of
    quasirandom sequences, 2018).
    """
    ratio = 2.0
    for _ in range(64):
        ratio = (1 + ratio) ** (1 / (dimensions + 1))
    return [(derive_seed(seed, "stratum", i) / SEEDS + number * ratio ** -(i + 1)) % 1 for i in range(dimensions)]


class Machine:
    """The draws of one table, with their options kept: many personas meet the same states."""

    def __init__(self, tables: AttributeTables) -> None:
        self.tables = tables
        self.by_value = {name: {one.value: one for one in choices} for name, choices in tables.choices.items()}
        order = list(tables.choices)
        later = {name: order[order.index(name) + 1 :] for name in order}
        # A state holds only what a later attribute can depend on, so that states are few.
        self.kept_values = {
            name: {
                *(other for one in later[name] for choice in tables.choices[one] for other in choice.when),
                *(other for rule in tables.never if any(one in rule for one in later[name]) for other in rule),
            }
            for name in order
        }
        self.kept_traits = {
            name: {trait for one in later[name] for choice in tables.choices[one] for trait in choice.traits}
            for name in order
        }
        self.options = lru_cache(maxsize=1 << 16)(self._options)

    def after(self, name: str, state: State, chosen: Choice) -> State:
        """The state once an attribute has this value."""
        values = dict(state.values) | {name: chosen.value}
        traits = narrow(dict(state.traits), chosen.traits) or {}
        return State(
            tuple((one, value) for one, value in values.items() if one in self.kept_values[name]),
            tuple((one, trait) for one, trait in sorted(traits.items()) if one in self.kept_traits[name]),
        )

    def effect(self, name: str, choice: Choice) -> Hashable:
        """Choices with an equal effect lead to the same state: many conditions concern the same people."""
        kept = frozenset(item for item in choice.traits.items() if item[0] in self.kept_traits[name])
        return choice.value if name in self.kept_values[name] else "", kept

    def contradicts(self, persona: Persona) -> bool:
        """Whether values of a persona exclude one another by their traits or by a rule; attributes may be missing."""
        traits: dict[str, Trait] = {}
        for name, value in persona.items():
            narrowed = narrow(traits, self.by_value[name][value].traits)
            if narrowed is None:
                return True
            traits = narrowed
        return any(all(persona.get(one) in refused for one, refused in rule.items()) for rule in self.tables.never)

    def weights(self, name: str, state: State) -> dict[Choice, float]:
        """The choices that are left, each with its weight above 0."""
        values, traits = dict(state.values), dict(state.traits)
        weighed = {}
        for choice in self.tables.choices[name]:
            weight = choice.weight
            for other, factors in choice.when.items():
                weight *= factors.get(values.get(other, ""), 1)
            if weight and narrow(traits, choice.traits) is not None and not self.is_never(name, choice, values):
                weighed[choice] = weight
        return weighed

    def is_never(self, name: str, choice: Choice, values: Mapping[str, str]) -> bool:
        """Whether a combination that is refused would be complete."""
        given = {**values, name: choice.value}
        rules = (rule for rule in self.tables.never if name in rule)
        return any(all(given.get(one) in refused for one, refused in rule.items()) for rule in rules)

    def _options(self, name: str, state: State) -> Options:
        weighed = self.weights(name, state)
        if not weighed:
            known = ", ".join([*(f"{one} {value}" for one, value in state.values), *(one for one, _ in state.traits)])
            raise SettingsError(
                f"the attribute table leaves no {name} for a persona with {known}",
                todo="give one of its values fewer traits; `muser attributes check` lists all such personas",
            )
        return Options(tuple(weighed), tuple(accumulate(weighed.values())))


@lru_cache(maxsize=4)
def machine_of(tables: AttributeTables) -> Machine:
    """The machine of these tables, the same at every call."""
    return Machine(tables)
