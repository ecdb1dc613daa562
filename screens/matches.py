"""What decontamination finds: texts that copy a benchmark's, and how well each net finds planted copies."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from ..core.errors import InputError
from ..core.hashing import digest
from ..core.jsonl import read_lines
from ..core.types import Value
from .references import Reference
from .words import words

Net = Literal["ngrams", "fuzzy", "embeddings"]
NETS: tuple[Net, ...] = ("ngrams", "fuzzy", "embeddings")
Part = Literal["query", "history", "answer"]
Copy = Literal["verbatim", "truncated", "reworded", "translated"]


class Suspect(Value):
    """A text that is compared with a benchmark."""

    where: str
    """the sample, or the file and line, that has the text"""
    part: Part
    """what the text is there"""
    text: str
    """the text"""


class Match(Suspect):
    """A text that copies one of a benchmark's."""

    nets: dict[Net, float] = Field(min_length=1)
    """how similar the two texts are, from 0 to 1, by each net that found the match"""
    reference: Reference
    """the benchmark's text"""
    hash: str
    """names the two texts in a file for --allow"""


class NetScore(Value):
    """How well a net, or all together, find one kind of planted copies."""

    net: Literal["ngrams", "fuzzy", "embeddings", "any"]
    """the net; any: at least one of them"""
    copies: Copy
    """how the copies were changed"""
    changed: float
    """the share of the original's words that a copy lacks, on average"""
    planted: int
    """how many copies were planted"""
    found: int
    """how many copies were matched with their original"""
    own: int
    """how many of the run's own queries were compared"""
    flagged: int
    """how many of the run's own queries were matched, which count as mistakes"""
    recall: float
    """found / planted"""
    precision: float | None
    """the share of copies among what is matched if there are as many copies as own queries; null if nothing is"""


def match_hash(text: str, reference: str) -> str:
    """A name for two texts, which does not depend on their case and spaces."""
    return digest([words(text), words(reference)])[:16]


def read_allowed(path: Path) -> set[str]:
    """The hashes in a file, one a line; what follows a # is a comment. Raises InputError."""
    lines = ((number, line.decode("utf-8", "replace").partition("#")[0].strip()) for number, line in read_lines(path))
    found = {line: number for number, line in lines if line}
    for text, number in found.items():
        if len(text) != 16 or not set(text) <= set("0123456789abcdef"):
            raise InputError(
                f"not the hash of a match: {text[:40]!r}",
                where=f"{path}:{number}",
                todo="copy the hash that `muser decontaminate` prints with the match",
            )
    return set(found)


class Decontamination(Value):
    """A comparison of a run, or of training rows, with benchmarks."""

    of: str
    """the run, or the file of rows"""
    against: dict[str, str]
    """the benchmarks' files, each with its SHA-256 in hex"""
    references: int
    """how many texts the benchmarks have: prompts, criteria and ideal completions of three words or more"""
    compared: int
    """how many texts of the run or the rows were compared with them"""
    nets: dict[Net, int]
    """how many texts each net has matched, without the allowed ones"""
    allowed: int
    """how many matches the file of --allow permits"""
    matches: tuple[Match, ...]
    """the other matches, in the order of the texts"""
