"""What a table cannot draw: values that never come, and dead ends, where a persona has no value left."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..core.documents import PACKAGED, Document, Keys, dotted, find_file, read_document
from ..core.problems import Problem, raise_problems
from ..core.types import Persona
from .attributes import AttributeTables, Choice, load_attributes
from .sampling import Machine, State, machine_of
from .traits import narrow

Reached = Mapping[State, Persona]
"""The states before an attribute, each with the first persona that reaches it."""


def check_attributes(file: str, folder: Path) -> AttributeTables:
    """The tables. Raises SettingsError with every dead end, and with every value that is never drawn."""
    tables = load_attributes(file, folder)
    faults = list(table_faults(tables))
    if faults:
        path = find_file(file, folder) or folder / file
        document = read_document(path, "table")
        raise_problems([_problem(document, keys, what) for keys, what in faults], str(path))
    return tables


def load_sound_attributes(file: str, folder: Path) -> AttributeTables:
    """As `check_attributes`, without the second that it takes for tables that ship: a test has checked those."""
    path = find_file(file, folder)
    ships = path is not None and path.resolve().parent == PACKAGED.resolve()
    return load_attributes(file, folder) if ships else check_attributes(file, folder)


def _problem(document: Document, keys: Keys, what: str) -> Problem:
    return Problem(document.source, document.line(keys), dotted(keys), what)


def table_faults(tables: AttributeTables) -> Iterator[tuple[Keys, str]]:
    """Where in the file, and what is wrong.

    All states are visited, not a sample of personas. They are few, because a state holds only what a later attribute
    depends on.
    """
    machine = machine_of(tables)
    reached: Reached = {State(): {}}
    for name, choices in tables.choices.items():
        left = {state: machine.weights(name, state) for state in reached}
        yield from _dead_ends(machine, name, {state: persona for state, persona in reached.items() if not left[state]})
        drawn = set().union(*left.values())
        for choice in choices:
            if choice.weight and choice not in drawn:
                why = " or ".join(sorted({_refusal(machine, name, choice, state) for state in reached}))
                what = f"is never drawn: {why}, whatever is drawn before it"
                yield ("attributes", name, "values", choice.value), what
        effects = {choice: machine.effect(name, choice) for choice in choices}
        after: dict[State, Persona] = {}
        for state, persona in reached.items():
            for choice in {effects[choice]: choice for choice in left[state]}.values():
                after.setdefault(machine.after(name, state, choice), {**persona, name: choice.value})
        reached = after


def _dead_ends(machine: Machine, name: str, ends: Reached) -> Iterator[tuple[Keys, str]]:
    """One problem for all dead ends of an attribute, with a persona as the example."""
    for state, persona in [*ends.items()][:1]:
        reasons = Counter(_refusal(machine, name, choice, state) for choice in machine.tables.choices[name])
        why = ", ".join(f"{number} × {reason}" for reason, number in reasons.most_common())
        who = ", ".join(f"{one} {value!r}" for one, value in persona.items())
        more = f"; {len(ends) - 1:,} more dead end{'s' * (len(ends) > 2)}" if len(ends) > 1 else ""
        yield ("attributes", name), f"has no value left for a persona with {who} ({why}){more}"


def _refusal(machine: Machine, name: str, choice: Choice, state: State) -> str:
    """Why the state does not allow the choice, in words."""
    known = dict(state.traits)
    clashing = [trait for trait, meant in choice.traits.items() if narrow(known, {trait: meant}) is None]
    if clashing:
        return f"its {' and '.join(clashing)} contradicts"
    if machine.is_never(name, choice, dict(state.values)):
        return "`never` refuses it"
    return "its weight is 0"
