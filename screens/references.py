"""The texts of a benchmark that must not be in training data: its prompts, criteria and ideal completions."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from ..core.errors import InputError
from ..core.jsonl import parse_object, read_lines
from ..core.types import Value
from .words import words

LEAST_WORDS = 3
"""Shorter texts, such as `thank you`, are evidence of nothing."""

PROBLEMS_SHOWN = 20


class Reference(Value):
    """One text of a benchmark."""

    kind: Literal["prompt", "criterion", "completion"]
    """What the text is in the benchmark."""
    where: str
    """The benchmark's file and line."""
    text: str
    """The text."""


def read_references(files: Iterable[Path]) -> list[Reference]:
    """The texts of files in HealthBench's format, each text once. Raises InputError with all problems, file and line.

    A line has `prompt`, a text or messages; `rubrics` and `ideal_completions_data` may be missing. Texts of fewer than
    three words are left out.
    """
    found: dict[tuple[str, ...], Reference] = {}
    problems: list[str] = []
    for path in files:
        for number, line in read_lines(path):
            where = f"{path}:{number}"
            try:
                for kind, text in _texts(parse_object(line)):
                    key = tuple(words(text))
                    if len(key) >= LEAST_WORDS:
                        found.setdefault(key, Reference(kind=kind, where=where, text=text))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                problems.append(f"{where}: {_reason(error)}")
    if problems:
        more = len(problems) - PROBLEMS_SHOWN
        shown = [*problems[:PROBLEMS_SHOWN], *([f"and {more} more"] if more > 0 else [])]
        raise InputError(
            "\n  ".join(["a benchmark cannot be read", *shown]),
            todo="use lines of {prompt: text or [{role, content}], rubrics: [{criterion}], ideal_completions_data}",
        )
    if not found:
        raise InputError("the benchmark has no text of three words or more", todo="check the files after --against")
    return list(found.values())


Kind = Literal["prompt", "criterion", "completion"]


def _texts(example: dict[str, Any]) -> Iterator[tuple[Kind, str]]:
    prompt = example["prompt"]
    for turn in [{"content": prompt}] if isinstance(prompt, str) else prompt:
        yield "prompt", _text(turn["content"])
    for item in example.get("rubrics") or ():
        yield "criterion", _text(item["criterion"])
    if ideal := example.get("ideal_completions_data"):
        yield "completion", _text(ideal["ideal_completion"])


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a text was expected, not {value!r:.40}")  # noqa: TRY004 - callers handle one kind of error
    return value


def _reason(error: Exception) -> str:
    return f"the field {error} is missing" if isinstance(error, KeyError) else str(error)
