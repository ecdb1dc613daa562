"""What is wrong with a table's file: the form of every entry, and the names that its rules refer to."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ..core.documents import Keys
from ..core.problems import suggestion
from ..core.types import check_attribute_name
from .traits import read_trait

FORM = (
    "a table is a mapping with attributes, and optionally never and stratify:"
    " attributes: {identity: {values: {nurse: {text: a registered nurse, weight: 2}}}}"
)
ENTRY = ("text", "weight", "when", "traits", "notes", "examples")
Found = Iterator[tuple[Keys, str]]
"""(where in the file, what is wrong)."""


def table_problems(data: Any) -> Found:
    """Every problem of a table; the rules are checked once the values are in order."""
    if not isinstance(data, dict) or not isinstance(data.get("attributes"), dict) or not data["attributes"]:
        yield (), FORM
        return
    yield from (((key,), f"unknown key{_near(key, TOP)}") for key in data if key not in TOP)
    found = [one for name, table in data["attributes"].items() for one in _attribute(name, table)]
    yield from found
    if not found:
        values = {name: table["values"] for name, table in data["attributes"].items()}
        yield from _whens(values)
        yield from _nevers(data.get("never"), values)
        yield from _stratified(data.get("stratify"), values)


TOP = ("attributes", "never", "stratify")


def _near(word: Any, known: Collection[str]) -> str:
    return suggestion(str(word), known)


def _attribute(name: Any, table: Any) -> Found:
    here: Keys = ("attributes", name)
    try:
        check_attribute_name(name if isinstance(name, str) else "")
    except ValueError as error:
        yield here, str(error)
        return
    if not isinstance(table, dict) or not isinstance(table.get("values"), dict) or not table["values"]:
        yield here, "must be a mapping with values: {VALUE: its text, …}"
        return
    yield from (((*here, key), f"unknown key{_near(key, ('label', 'values'))}") for key in table if key not in LABELLED)
    if not _is_text(table.get("label", name)):
        yield (*here, "label"), "must be text"
    found = [one for value, given in table["values"].items() for one in _entry((*here, "values", value), given)]
    yield from found
    if not found and not any(_weight(given) for given in table["values"].values()):
        yield here, "at least one weight must be above 0"


LABELLED = ("label", "values")


def _entry(here: Keys, given: Any) -> Found:
    if not _is_text(here[-1]):
        yield here, "a value must be text; put it in quotes"
    if given is None or _is_text(given):
        return
    if not isinstance(given, dict):
        yield here, f"must be text, or a mapping with {', '.join(ENTRY)}"
        return
    yield from (((*here, key), f"unknown key{_near(key, ENTRY)}") for key in given if key not in ENTRY)
    if not _is_text(given.get("text", here[-1])):
        yield (*here, "text"), "must be text"
    if not _is_weight(given.get("weight", 1)):
        yield (*here, "weight"), "must be a number, at least 0"
    yield from _traits((*here, "traits"), given.get("traits"))
    yield from _texts((*here, "notes"), given.get("notes"))
    examples = given.get("examples")
    if examples is not None and not (isinstance(examples, list) and all(map(_is_text, examples))):
        yield (*here, "examples"), "must be a list of texts"
    yield from _factors((*here, "when"), given.get("when"))


def _traits(here: Keys, given: Any) -> Found:
    if given is not None and not isinstance(given, dict):
        yield here, "must be a mapping of traits, such as {age: [18, 64], sex: female}"
        return
    for name, trait in (given or {}).items():
        try:
            read_trait(trait)
        except ValueError as error:
            yield (*here, name), str(error)


def _texts(here: Keys, given: Any) -> Found:
    if given is not None and not (isinstance(given, dict) and all(map(_is_text, given.values()))):
        yield here, "must be a mapping of names to texts"


def _factors(here: Keys, given: Any) -> Found:
    if given is None:
        return
    if not isinstance(given, dict) or not all(isinstance(by, dict) for by in given.values()):
        yield here, "must name values of earlier attributes, such as {identity: {nurse: 2}}"
        return
    for name, by in given.items():
        for value, factor in by.items():
            if not _is_weight(factor):
                yield (*here, name, value), "must be a number, at least 0"


def _whens(values: Mapping[str, Mapping[str, Any]]) -> Found:
    order = list(values)
    for number, name in enumerate(order):
        for value, given in values[name].items():
            here: Keys = ("attributes", name, "values", value, "when")
            for other, by in ((given.get("when") or {}) if isinstance(given, dict) else {}).items():
                if other not in order[:number]:
                    late = " must stand before this one" if other in order else _near(other, order[:number])
                    yield (*here, other), f"{other!r} is no earlier attribute{late}"
                    continue
                yield from _known((*here, other), other, by, values)


def _known(here: Keys, name: str, given: Collection[str], values: Mapping[str, Mapping[str, Any]]) -> Found:
    for value in given:
        if value not in values[name]:
            yield here, f"{name} is never {value!r}{_near(value, list(values[name]))}"


def _nevers(rules: Any, values: Mapping[str, Mapping[str, Any]]) -> Found:
    if rules is not None and not isinstance(rules, list):
        yield ("never",), "must be a list of combinations, such as {vagueness: very vague, completeness: complete}"
        return
    for number, rule in enumerate(rules or ()):
        here: Keys = ("never", number)
        if not isinstance(rule, dict) or len(rule) < 2:
            yield here, "must name a value, or a list of values, of two attributes or more"
            continue
        for name, given in rule.items():
            if name not in values:
                yield here, f"unknown attribute {name!r}{_near(name, list(values))}"
            else:
                yield from _known(here, name, given if isinstance(given, list) else [given], values)


def _stratified(given: Any, values: Mapping[str, Any]) -> Found:
    if given is not None and not isinstance(given, list):
        yield ("stratify",), "must be a list of attributes"
        return
    for name in given or ():
        if name not in values:
            yield ("stratify",), f"unknown attribute {name!r}{_near(name, list(values))}"


def _is_text(given: Any) -> bool:
    return isinstance(given, str) and bool(given.strip())


def _is_weight(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool) and given >= 0


def _weight(given: Any) -> float:
    return float(given.get("weight", 1)) if isinstance(given, dict) else 1.0
