"""Scores grades and answers that lie in files, without a store and without a model."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import Field, ValidationError

from ..core.errors import InputError
from ..core.files import open_private
from ..core.jsonl import read_lines
from ..core.types import Grade, Value
from .examples import Example
from .formats import Completion, format_of
from .healthbench import problems_in, refuse
from .scores import ExampleScore, Report, Score, score_grades

T = TypeVar("T", bound=Value)


class GradeLine(Value):
    """A judge's decision on one rubric item of one example's answer."""

    prompt_id: str
    """The example."""
    rubric_index: int = Field(ge=0)
    """The item's place in the example's rubric, from 0."""
    criteria_met: bool | None
    """Whether the answer meets the criterion; null if the judge gave no verdict."""


class AnswerLine(Value):
    """One answer to one example of a benchmark."""

    prompt_id: str
    """The example."""
    response: str
    """The answer, without the model's reasoning."""


class StoredScores(Value):
    """The scores of stored grades, under the names that simple-evals gives them."""

    score: float | None
    """the overall score; none if no example was judged completely"""
    metrics: dict[str, float]
    """`overall_score` and each tag: the score; with `:n_samples` and `:bootstrap_std`: how many answers, how exact"""
    report: Report
    """the same scores with their intervals, and what was left out"""


def score_files(data: Sequence[Example], grades: Path, answers: Path | None = None) -> list[ExampleScore]:
    """The score of every example that has a grade. Raises InputError with every line that fits no example."""
    examples = {example.prompt_id: example for example in data}
    graded = read_grades(grades, examples)
    lengths = {key: len(text) for key, text in read_answers(answers, examples).items()} if answers else {}
    return [
        score_grades(examples[prompt_id], given).model_copy(update={"characters": lengths.get(prompt_id)})
        for prompt_id, given in graded.items()
    ]


def read_answers(path: Path, examples: dict[str, Example]) -> dict[str, str]:
    """The answers of a file by prompt id. Raises InputError with every line that fits no example.

    A meta-evaluation's file has the answers that physicians judged.
    """
    given = {key: example.answer for key, example in examples.items() if isinstance(example, Completion)}
    if given and next((format_of(line) for _, line in read_lines(path)), "") == "meta":
        return given
    problems: list[str] = []
    found: dict[str, str] = {}
    for place, line in _lines(path, AnswerLine, problems):
        if line.prompt_id not in examples:
            problems.append(f"{place}: the benchmark has no example {line.prompt_id!r}")
        elif line.prompt_id in found:
            problems.append(f"{place}: {line.prompt_id!r} has an answer already")
        found[line.prompt_id] = line.response
    if problems:
        raise refuse(path, problems, "does not fit the benchmark", "use lines of {prompt_id, response}")
    return found


def write_answers(path: Path, answers: Iterable[tuple[str, str]]) -> int:
    """Writes (prompt id, answer) pairs as `read_answers` reads them, and returns their number."""
    lines = [AnswerLine(prompt_id=key, response=text).model_dump_json() for key, text in answers]
    try:
        with open_private(path, "w") as file:
            file.writelines(f"{line}\n" for line in lines)
    except OSError as error:
        raise InputError(
            f"the file cannot be written: {error.strerror}", where=str(path), todo="check the path"
        ) from error
    return len(lines)


def as_simple_evals(report: Report) -> StoredScores:
    """The report as simple-evals writes it: a score, and three metrics for each tag."""
    scores = ({"overall_score": report.overall} if report.overall else {}) | report.example_tags | report.rubric_tags
    metrics = {name: value for tag, score in scores.items() for name, value in _three(tag, score)}
    return StoredScores(score=metrics.get("overall_score"), metrics=metrics, report=report)


def read_grades(path: Path, examples: dict[str, Example]) -> dict[str, list[Grade]]:
    """The grades of a file by prompt id, in the benchmark's order."""
    problems: list[str] = []
    found: dict[str, dict[int, Grade]] = {}
    for place, line in _lines(path, GradeLine, problems):
        example = examples.get(line.prompt_id)
        given = found.setdefault(line.prompt_id, {})
        if example is None:
            problems.append(f"{place}: the benchmark has no example {line.prompt_id!r}")
        elif line.rubric_index >= len(example.rubrics):
            problems.append(f"{place}: the rubric of {line.prompt_id!r} has {len(example.rubrics)} items")
        elif line.rubric_index in given:
            problems.append(f"{place}: item {line.rubric_index} of {line.prompt_id!r} has a grade already")
        else:
            points = example.rubrics[line.rubric_index].points
            given[line.rubric_index] = Grade(item=line.rubric_index, points=points, met=line.criteria_met)
    if not found and not problems:
        problems.append(f"{path}: no grade")
    if problems:
        form = "use lines of {prompt_id, rubric_index, criteria_met}; indexes start at 0"
        raise refuse(path, problems, "does not fit the benchmark", form)
    return {key: list(found[key].values()) for key in examples if key in found}


def _three(tag: str, score: Score) -> Iterator[tuple[str, float]]:
    yield tag, score.mean
    yield f"{tag}:n_samples", score.n
    yield f"{tag}:bootstrap_std", score.std


def _lines(path: Path, kind: type[T], problems: list[str]) -> Iterator[tuple[str, T]]:
    """(place, line) of every line that is of this kind; adds the problems of the others."""
    for number, line in read_lines(path):
        try:
            yield f"{path}:{number}", kind.model_validate_json(line, strict=True, extra="ignore")
        except ValidationError as error:
            problems.extend(f"{path}:{number}: {problem}" for problem in problems_in(error))
