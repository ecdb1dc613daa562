"""The attribute tables: the values of a persona's seven attributes, their weights, and their words in the prompt."""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

from ..core.documents import PACKAGED, Document, dotted, find_file, read_document
from ..core.errors import SettingsError
from ..core.hashing import derive_seed, digest
from ..core.problems import Problem, raise_problems, suggestion
from ..core.types import Persona, Value

ATTRIBUTES = ("identity", "region", "condition", "intent", "vagueness", "completeness", "style")


class Choice(Value):
    """One value of an attribute: the short name that personas store, and the words that go into the persona prompt."""

    value: str
    text: str
    weight: float = 1.0


class AttributeTables(Value):
    """The choices of every attribute, in the file's order; `digest` changes with everything that can change a query."""

    choices: dict[str, tuple[Choice, ...]]
    digest: str

    def describe(self, persona: Persona) -> dict[str, str]:
        """Attribute → the words for the prompt; a value that is not in the tables is used as it is."""
        texts = {name: {choice.value: choice.text for choice in choices} for name, choices in self.choices.items()}
        return {name: texts.get(name, {}).get(value, value) for name, value in persona.items()}


def draw_persona(tables: AttributeTables, seed: int) -> Persona:
    """One value of every attribute, drawn by weight and independently: a changed table changes no other draw."""
    return {name: _draw(tables.choices[name], derive_seed(seed, name)) for name in ATTRIBUTES}


def _draw(choices: tuple[Choice, ...], seed: int) -> str:
    bounds = list(accumulate(choice.weight for choice in choices))
    # Seeds are uniform over [0, 2**31), and unlike `random` this draw is the same in every version of Python.
    return choices[bisect_right(bounds, seed / 2**31 * bounds[-1])].value


def load_attributes(file: str, folder: Path) -> AttributeTables:
    """The tables in `folder`, else those that ship with muser. Raises SettingsError with all problems."""
    path = find_file(file, folder)
    if path is None:
        near = suggestion(file, sorted(own.name for own in PACKAGED.glob("*.yaml")))
        raise SettingsError(f"there is no table {file}: neither {folder / file} nor {PACKAGED / file} is a file{near}")
    document = read_document(path, "table")
    if not isinstance(document.data, dict):
        raise SettingsError(f"{path}: must be a mapping of the attributes {', '.join(ATTRIBUTES)}")
    problems = [*document.problems, *_problems(document)]
    raise_problems(problems, str(path))
    choices = {name: tuple(_choice(*item) for item in document.data[name].items()) for name in ATTRIBUTES}
    content = {name: [choice.model_dump() for choice in values] for name, values in choices.items()}
    return AttributeTables(choices=choices, digest=digest(content))


def _choice(value: str, given: Any) -> Choice:
    entry = {"text": given} if isinstance(given, str) else given or {}
    # Each text is one line of the prompt.
    return Choice(value=value, text=" ".join(entry.get("text", value).split()), weight=float(entry.get("weight", 1)))


def _problems(document: Document) -> Iterator[Problem]:
    def problem(what: str, *keys: str) -> Problem:
        return Problem(document.source, document.line(keys), dotted(keys), what)

    data = document.data
    for name in data:
        if name not in ATTRIBUTES:
            yield problem(f"unknown attribute{suggestion(name, ATTRIBUTES)}", name)
    for name in ATTRIBUTES:
        table = data.get(name)
        if name not in data:
            yield problem("is required", name)
        elif not isinstance(table, dict) or not table:
            yield problem("must be a mapping of values to their texts", name)
        else:
            found = [(keys, what) for value, given in table.items() for keys, what in _entry(value, given)]
            yield from (problem(what, name, *keys) for keys, what in found)
            if not found and not any(_choice(*item).weight for item in table.items()):
                yield problem("at least one weight must be above 0", name)


def _entry(value: str, given: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    if given is None or (isinstance(given, str) and given.strip()):
        return
    if not isinstance(given, dict):
        yield (value,), "must be text, or a mapping with text and weight"
        return
    for key in given:
        if key not in ("text", "weight"):
            yield (value, key), f"unknown key{suggestion(key, ['text', 'weight'])}"
    text, weight = given.get("text", value), given.get("weight", 1)
    if not isinstance(text, str) or not text.strip():
        yield (value, "text"), "must be text"
    if isinstance(weight, bool) or not isinstance(weight, int | float) or weight < 0:
        yield (value, "weight"), "must be a number, at least 0"
