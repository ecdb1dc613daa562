"""The parts that a report's page is made of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Heading:
    text: str


@dataclass(frozen=True)
class Paragraph:
    text: str


@dataclass(frozen=True)
class Table:
    """The first column is text, the others are right-aligned."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Picture:
    """An SVG file beside the page, by name."""

    name: str
    says: str


@dataclass(frozen=True)
class Code:
    text: str


Block = Heading | Paragraph | Table | Picture | Code
