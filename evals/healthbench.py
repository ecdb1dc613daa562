"""The file format of HealthBench (arXiv 2505.08775; format and texts as in OpenAI's simple-evals)."""

import random
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, ValidationError, field_validator

from ..core.conversations import conversation_text as turns_text
from ..core.errors import InputError
from ..core.hashing import file_digest
from ..core.jsonl import read_lines
from ..core.types import Message, RubricItem, Tags, Value
from ..prompts.delimiters import quote_turns

PROBLEMS_SHOWN = 20


class Example(Value):
    """One conversation, the rubric for its next turn, and the example's own tags (themes)."""

    prompt_id: str = Field(min_length=1)
    """Unique in the file."""
    prompt: tuple[Message, ...]
    """The conversation; the last turn is the user's."""
    rubrics: tuple[RubricItem, ...]
    """At least one item."""
    example_tags: Tags
    """Such as `theme:context_seeking`. No tag twice."""

    @field_validator("prompt")
    @classmethod
    def _ends_with_user(cls, prompt: tuple[Message, ...]) -> tuple[Message, ...]:
        if not prompt or prompt[-1].role != "user":
            raise ValueError("must end with a user turn")
        return prompt

    @field_validator("rubrics")
    @classmethod
    def _has_items(cls, rubrics: tuple[RubricItem, ...]) -> tuple[RubricItem, ...]:
        if not rubrics:
            raise ValueError("must have at least one item")
        return rubrics


def load_examples(path: Path, *, n: int | None = None, repeats: int = 1) -> list[Example]:
    """Examples of a JSONL file; `n` draws the subset that simple-evals draws, `repeats` then multiplies the list.

    Ignores unknown fields. Returns all examples if `n` exceeds their number. Raises InputError that lists every problem
    with file and line.
    """
    examples: list[Example] = []
    problems: list[str] = []
    seen: dict[str, int] = {}
    for number, line in read_lines(path):
        try:
            example = Example.model_validate_json(line, strict=True, extra="ignore")
        except ValidationError as error:
            problems.extend(f"{path}:{number}: {problem}" for problem in _problems(error))
            continue
        first = seen.setdefault(example.prompt_id, number)
        if first != number:
            problems.append(f"{path}:{number}: prompt_id: {example.prompt_id!r} is already on line {first}")
        examples.append(example)
    if problems:
        raise _broken(path, problems)
    if not examples:
        raise InputError("the file has no examples", where=str(path), todo="give a JSONL file in HealthBench's format")
    if n is not None and n <= len(examples):
        # As in simple-evals' healthbench_eval.py, which seeds random.Random with 0.
        examples = random.Random(0).sample(examples, n)
    return examples * repeats


def benchmark_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's content. Raises InputError if it cannot be read."""
    try:
        return file_digest(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def item_text(item: RubricItem) -> str:
    """A rubric item as the judge's prompt shows it: `[points] criterion`."""
    return f"[{item.points}] {item.criterion}"


def conversation_text(prompt: Sequence[Message], response: str) -> str:
    """The conversation and the answer to grade, as `role: content` paragraphs joined by blank lines.

    Lines of the answer that look like a new turn are quoted, so that an answer cannot forge a conversation.
    """
    return turns_text([*prompt, Message(role="assistant", content=quote_turns(response))])


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"the file cannot be read: {error.strerror}", where=str(path), todo="check the path")


def _problems(error: ValidationError) -> list[str]:
    """One `place: message` per place; pydantic reports a bad `float | int` twice, once for each type."""
    found: dict[str, str] = {}
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        parts = [part for part in detail["loc"] if part not in ("float", "int")]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")
        # pydantic's "line 1" counts inside this JSON text, not in the file.
        message = detail["msg"].removeprefix("Value error, ").replace(" at line 1 column ", " at column ")
        found.setdefault(place, message)
    return [f"{place}: {message}" if place else message for place, message in found.items()]


def _broken(path: Path, problems: list[str]) -> InputError:
    shown = problems[:PROBLEMS_SHOWN]
    more = len(problems) - len(shown)
    rest = [f"and {more} more"] if more else []
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return InputError(
        "\n  ".join([f"{count}: the file is not in HealthBench's format", *shown, *rest]),
        where=str(path),
        todo="use lines of {prompt_id, prompt: [{role, content}], rubrics: [{criterion, points, tags}], example_tags}",
    )
