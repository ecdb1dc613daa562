"""The attribute tables: the values that personas are drawn from, their weights, what fits together, and their words."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..core.documents import PACKAGED, Document, Keys, dotted, find_file, read_document
from ..core.errors import SettingsError
from ..core.hashing import derive_seed, digest
from ..core.problems import Problem, raise_problems, suggestion
from ..core.types import Persona
from .table_checks import table_problems
from .traits import Trait, read_trait


@dataclass(frozen=True, eq=False)
class Choice:
    """One value of an attribute: the short name that personas store, and the words that go into the persona prompt.

    `when` multiplies the weight, given the value of an earlier attribute. `notes` are more words for the prompt and for
    charts; `examples` are queries as such a person would write them.
    """

    value: str
    text: str
    weight: float = 1.0
    when: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    traits: Mapping[str, Trait] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class AttributeTables:
    """The choices of every attribute, in the file's order; `digest` changes with everything that can change a query.

    `never` are combinations that no persona has; `stratify` names the attributes over which every prefix of a run is
    balanced. `rows` are personas that the user brings: a run's samples have theirs, and draw what a row leaves out.
    """

    choices: Mapping[str, tuple[Choice, ...]]
    labels: Mapping[str, str]
    digest: str
    never: tuple[Mapping[str, tuple[str, ...]], ...] = ()
    stratify: tuple[str, ...] = ()
    rows: tuple[Persona, ...] = ()

    def find(self, name: str, value: str) -> Choice:
        """The choice of this value; one that is not in the tables stands for itself."""
        return next((one for one in self.choices.get(name, ()) if one.value == value), Choice(value=value, text=value))

    def describe(self, persona: Persona) -> dict[str, str]:
        """Attribute → the words for the prompt; a value that is not in the tables is used as it is."""
        return {name: self.find(name, value).text for name, value in persona.items()}

    def for_prompt(self, persona: Persona, seed: int) -> dict[str, Any]:
        """The variables of the persona prompt: the attributes, example queries, and the name of the language.

        Of the examples of each value one is chosen by the seed, so that a model does not see the same ones every time.
        """
        chosen = {name: self.find(name, value) for name, value in persona.items()}
        shown = [
            one.examples[derive_seed(seed, name) % len(one.examples)] for name, one in chosen.items() if one.examples
        ]
        return {
            "attributes": {
                name: {"label": self.labels.get(name, name), "value": one.value, "text": one.text, "notes": one.notes}
                for name, one in chosen.items()
            },
            "examples": shown,
            "language": self.language_of(persona) or "English",
        }

    def language_of(self, persona: Persona | None) -> str:
        """The name of the language that the persona writes; empty if it has none."""
        given = (persona or {}).get("language", "")
        return self.find("language", given).notes.get("name", given)


def load_attributes(file: str, folder: Path) -> AttributeTables:
    """The tables in `folder`, else those that ship with muser. Raises SettingsError with all problems."""
    path = find_file(file, folder)
    if path is None:
        near = suggestion(file, sorted(own.name for own in PACKAGED.glob("*.yaml")))
        raise SettingsError(f"there is no table {file}: neither {folder / file} nor {PACKAGED / file} is a file{near}")
    document = read_document(path, "table")
    raise_problems([*document.problems, *_problems(document)], str(path))
    return _tables(document.data)


def _problems(document: Document) -> Iterator[Problem]:
    def problem(keys: Keys, what: str) -> Problem:
        return Problem(document.source, document.line(keys), dotted(keys), what)

    yield from (problem(keys, what) for keys, what in table_problems(document.data))


def _tables(data: Mapping[str, Any]) -> AttributeTables:
    given: Mapping[str, Any] = data["attributes"]
    tables = AttributeTables(
        choices={name: tuple(_choice(*item) for item in table["values"].items()) for name, table in given.items()},
        labels={name: table.get("label", name) for name, table in given.items()},
        digest="",
        never=tuple({name: _listed(value) for name, value in rule.items()} for rule in data.get("never") or ()),
        stratify=tuple(data.get("stratify") or ()),
    )
    return replace(tables, digest=digest(asdict(tables)))


def _choice(value: str, given: Any) -> Choice:
    entry: Mapping[str, Any] = {"text": given} if isinstance(given, str) else given or {}
    return Choice(
        value=value,
        text=_one_line(entry.get("text", value)),
        weight=float(entry.get("weight", 1)),
        when={name: {of: float(factor) for of, factor in by.items()} for name, by in (entry.get("when") or {}).items()},
        traits={name: read_trait(trait) for name, trait in (entry.get("traits") or {}).items()},
        notes={name: _one_line(str(note)) for name, note in (entry.get("notes") or {}).items()},
        examples=tuple(text.strip() for text in entry.get("examples") or ()),
    )


def _one_line(text: str) -> str:
    """Each text is one line of the prompt."""
    return " ".join(text.split())


def _listed(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
