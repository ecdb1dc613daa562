"""The file format of HealthBench (arXiv 2505.08775; format and texts as in OpenAI's simple-evals)."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from ..core.conversations import conversation_text as turns_text
from ..core.errors import InputError
from ..core.hashing import file_digest
from ..core.jsonl import read_lines
from ..core.types import Message, RubricItem
from ..prompts.delimiters import quote_turns
from .examples import Example
from .formats import ChoiceLine, MetaLine, ProfessionalLine, completions, format_of

PROBLEMS_SHOWN = 20
FORM = "use lines of {prompt_id, prompt: [{role, content}], rubrics: [{criterion, points, tags}], example_tags}"


def load_examples(path: Path, *, n: int | None = None, repeats: int = 1) -> list[Example]:
    """Examples of a JSONL file; `n` draws the subset that simple-evals draws, `repeats` then multiplies the list.

    Reads the formats of formats.py too, told apart by their fields, and ignores unknown fields. Returns all examples if
    `n` exceeds their number. Raises InputError that lists every problem with file and line.
    """
    problems: list[str] = []
    seen: dict[str, int] = {}
    examples: list[Example] = []
    for number, example in _read(path, problems):
        first = seen.setdefault(example.prompt_id, number)
        if first != number:
            problems.append(f"{path}:{number}: prompt_id: {example.prompt_id!r} is already on line {first}")
        examples.append(example)
    if problems:
        raise refuse(path, problems, "is not in HealthBench's format", FORM)
    if not examples:
        raise InputError("the file has no examples", where=str(path), todo="give a JSONL file in HealthBench's format")
    if n is not None and n <= len(examples):
        # As in simple-evals' healthbench_eval.py, which seeds random.Random with 0.
        examples = random.Random(0).sample(examples, n)
    return examples * repeats


def _read(path: Path, problems: list[str]) -> Iterator[tuple[int, Example]]:
    """(line number, example); adds the problems of other lines. An answer of a meta-evaluation has many lines."""
    judged: dict[int, MetaLine] = {}
    for number, line in read_lines(path):
        try:
            match format_of(line):
                case "professional":
                    yield number, ProfessionalLine.model_validate_json(line, extra="ignore").to_example()
                case "choice":
                    yield number, ChoiceLine.model_validate_json(line, extra="ignore").to_example(number)
                case "meta":
                    judged[number] = MetaLine.model_validate_json(line, strict=True, extra="ignore")
                case "healthbench":
                    yield number, Example.model_validate_json(line, strict=True, extra="ignore")
        except ValidationError as error:
            problems.extend(f"{path}:{number}: {problem}" for problem in problems_in(error))
        except ValueError as error:
            problems.append(f"{path}:{number}: {error}")
    yield from zip(judged, completions(judged.values()), strict=False)


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


def problems_in(error: ValidationError) -> list[str]:
    """One `place: message` per place; pydantic reports a bad `float | int` twice, once for each type."""
    found: dict[str, str] = {}
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        parts = [part for part in detail["loc"] if part not in ("float", "int")]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")
        # pydantic's "line 1" counts inside this JSON text, not in the file.
        message = detail["msg"].removeprefix("Value error, ").replace(" at line 1 column ", " at column ")
        found.setdefault(place, message)
    return [f"{place}: {message}" if place else message for place, message in found.items()]


def refuse(path: Path, problems: Sequence[str], what: str, todo: str) -> InputError:
    """The error that lists the first problems of a file."""
    shown = problems[:PROBLEMS_SHOWN]
    more = len(problems) - len(shown)
    rest = [f"and {more} more"] if more else []
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return InputError("\n  ".join([f"{count}: the file {what}", *shown, *rest]), where=str(path), todo=todo)
