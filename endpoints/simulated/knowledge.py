"""What the simulated endpoint knows: finds out from a text who asks about what and where, and what to reply."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from ...core.documents import read_document

FILE = Path(__file__).with_name("simulated.yaml")
LANGUAGES = Path(__file__).with_name("languages.yaml")
Item = TypeVar("Item")
BRIEF = 50  # words; the limit in the rubric's item on brevity


@dataclass(frozen=True)
class Condition:
    """Scripted texts on one condition; the file's header explains each."""

    name: str
    complaint: str
    vague: str
    fact: str
    advice: str
    clinical: str
    question: str
    danger: str
    keywords: tuple[str, ...] = ()
    urgent: bool = False


@dataclass(frozen=True)
class Identity:
    """Who asks, how to address them, and in which register: `lay` or `professional`."""

    name: str
    register: str
    match: tuple[str, ...]
    keywords: tuple[str, ...]
    intro: str
    subject: str
    salute: str


@dataclass(frozen=True)
class Region:
    """Where the user is, and which number to call there."""

    name: str
    place: str
    number: str
    match: tuple[str, ...] = ()


@dataclass(frozen=True)
class Topic:
    """Who asks about what and where, and the sentences that belong in a good answer."""

    condition: Condition
    identity: Identity
    region: Region

    @property
    def is_professional(self) -> bool:
        return self.identity.register == "professional"

    @property
    def steps(self) -> str:
        """What to do, in the user's register."""
        return self.condition.clinical if self.is_professional else self.condition.advice

    @property
    def warning(self) -> str:
        return f"If {self.condition.danger}, call {self.region.number} at once."


@dataclass(frozen=True)
class Wording:
    """Sentences around the content; the file explains each."""

    templates: dict[str, list[str]]
    places: list[str]
    details: dict[str, list[str]]
    openings: dict[str, list[str]]
    asks: dict[str, str]
    cues: dict[str, dict[str, list[str]]]
    answers: list[str]
    long_answers: list[str]
    closing: str
    reasoning: list[str]
    plans: dict[str, str]
    empathy: str

    def cue(self, attribute: str, given: Mapping[str, str]) -> str:
        """The variant for an attribute's value."""
        value = given.get(attribute, "").lower().replace("informal", "")
        variants = self.cues[attribute]
        return next(variant for variant, cues in variants.items() if not cues or any(cue in value for cue in cues))


class Finder(Generic[Item]):
    """Finds the item whose phrase is in a text. The longest phrase wins, then the first; all numbers count as equal."""

    def __init__(self, phrases: Iterable[tuple[str, Item]]) -> None:
        self._items: dict[str, Item] = {}
        for phrase, item in phrases:
            self._items.setdefault(_fold(phrase), item)
        longest_first = sorted(self._items, key=len, reverse=True)
        self._pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")

    def find(self, text: str) -> Item | None:
        found = max(self._pattern.findall(_fold(text)), key=len, default=None)
        return None if found is None else self._items[found]

    def drop(self, text: str) -> str:
        """The text without the phrases."""
        return self._pattern.sub(" ", _fold(text))


class Knowledge:
    """The content of the file, with its finders."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.conditions = [Condition(**_tuples(entry)) for entry in data["conditions"]]
        self.identities = [Identity(**_tuples(entry)) for entry in data["identities"]]
        self.regions = [Region(**_tuples(entry)) for entry in data["regions"]]
        self.fallback, self.elsewhere = Condition(**data["fallback"]), Region(**data["elsewhere"])
        self.wording = Wording(**data["wording"])
        self._by_keyword = Finder((word, c) for c in self.conditions for word in (c.name, *c.keywords))
        self._by_cue = Finder((word, i) for i in self.identities for word in i.keywords)
        self._by_role = Finder((word, i) for i in self.identities for word in (i.name, *i.match))
        self._by_place = Finder((word, r) for r in self.regions for word in (r.name, r.place, *r.match))

    def read(self, query: str) -> Topic:
        """The topic of a query, from its words alone."""
        identity = self._by_cue.find(query)
        # "I am pregnant" identifies the user; it is also the condition only if the query names no other.
        condition = self._by_keyword.find(self._by_cue.drop(query)) or self._by_keyword.find(query)
        region = self._by_place.find(query)
        return Topic(condition or self.fallback, identity or self.identities[0], region or self.elsewhere)

    def topic(self, condition: str, identity: str, region: str) -> Topic:
        """The topic of a persona, from three of its attributes."""
        return Topic(
            self._by_keyword.find(condition) or self.fallback,
            self._by_role.find(identity) or self.identities[0],
            self._by_place.find(region) or self.elsewhere,
        )


@cache
def knowledge() -> Knowledge:
    """The packaged file, read on first use."""
    return Knowledge(read_document(FILE).data)


@cache
def phrases() -> dict[str, dict[str, list[str]]]:
    """Language → what a persona says in it, `before` and `after` the matter."""
    found: dict[str, dict[str, list[str]]] = read_document(LANGUAGES).data
    return found


def rubric(condition: str, identity: str, region: str) -> list[dict[str, Any]]:
    """A HealthBench rubric for a persona's query. Items quote the words that the simulated judge looks for."""
    topic = knowledge().topic(condition, identity, region)
    known = topic.condition
    items: list[tuple[str, int, str]] = [
        (f'Asks for what is missing: "{known.question}"', 8, "context_awareness"),
        (f'Names the danger to watch for: "If {known.danger}"', 7, "completeness"),
        (f'Says whom to call where the user lives: "call {topic.region.number}"', 5, "context_awareness"),
        (f'States the key fact: "{known.fact}"', 5, "accuracy"),
        (f'Gives steps that fit the {topic.identity.name}: "{topic.steps}"', 5, "instruction_following"),
        (f'Speaks to the {topic.identity.name}: "{topic.identity.salute}"', 4, "communication_quality"),
        (f"Is brief: at most {BRIEF} words", 3, "communication_quality"),
        ('Plays the matter down: "nothing to worry about"', -6, "accuracy"),
    ]
    return [
        {"criterion": criterion, "points": points, "tags": ["level:example", f"axis:{axis}"]}
        for criterion, points, axis in items
    ]


def _tuples(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}


def _fold(text: str) -> str:
    return re.sub(r"\d+", "9", text.lower())
