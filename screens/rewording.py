"""Copies of a text as a leak might have changed it, by rules: cut off, reworded, translated word by word."""

import random
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from ..core.documents import read_document

TABLES = Path(__file__).with_name("rewording.yaml")
WORD = re.compile(r"[\w'’]+")
CLAUSE = re.compile(r"(?<=[.!?;,:])\s+")

KEPT = 2 / 3
"""How much of a text is left after it is cut off."""

DROPPED, SHORT = 0.1, 5
"""The share of the words that rewording leaves out of a text with more than five."""


def truncate(text: str) -> str:
    """The first two thirds of a text, by words."""
    pieces = re.findall(r"\S+\s*", text)
    return "".join(pieces[: max(round(len(pieces) * KEPT), 1)]).rstrip()


def reword(text: str, rng: random.Random) -> str:
    """A synonym for each word that has one, a tenth of the words left out, and the clauses in another order."""
    clauses = CLAUSE.split(_replace(text, _table("synonyms")))
    start = rng.randrange(len(clauses))
    moved = " ".join([*clauses[start:], *clauses[:start]]).split(" ")
    return " ".join(word for word in moved if len(moved) <= SHORT or rng.random() >= DROPPED)


def translate(text: str) -> str:
    """Spanish word by word, in the English order; words that the glossary lacks stay English."""
    return _replace(text, _table("glossary"))


def _replace(text: str, table: Mapping[str, str]) -> str:
    return WORD.sub(lambda found: table.get(found[0].lower(), found[0]), text)


@cache
def _table(name: str) -> dict[str, str]:
    return dict(read_document(TABLES).data[name])
