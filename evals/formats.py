"""Other benchmark formats as examples: HealthBench Professional, HealthBench's meta-evaluation, multiple choice."""

import re
from collections.abc import Iterable, Sequence
from string import ascii_uppercase
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from ..core.types import Grade, Message, RubricItem, Value
from .examples import Example

ONE_LETTER = "Answer with the letter of the one right option."
_LETTER = re.compile(r"(?<![A-Za-z])\(?([A-Z])\)?(?![A-Za-z'’])")


class Choice(Example):
    """A multiple-choice question; its only rubric item is met by the right letter."""

    letter: str
    options: frozenset[str]


class Completion(Example):
    """An answer that physicians judged: its rubric has the criteria, and `labels` their verdicts on each."""

    answer: str
    labels: tuple[tuple[bool, ...], ...]


class ProfessionalItem(Value):
    """A criterion of HealthBench Professional."""

    criterion_text: str
    points: float | int


def _messages(given: object) -> object:
    """A conversation is a list of messages, or an object that has them under `messages`."""
    return given.get("messages") if isinstance(given, dict) else given


class ProfessionalLine(Value):
    """An example of HealthBench Professional. Unknown fields are ignored."""

    id: str = Field(min_length=1)
    conversation: Annotated[tuple[Message, ...], BeforeValidator(_messages)]
    rubric_items: tuple[ProfessionalItem, ...]

    def to_example(self) -> Example:
        """The example, without tags: neither the example nor its items have any."""
        items = tuple(RubricItem(criterion=one.criterion_text, points=one.points, tags=()) for one in self.rubric_items)
        return Example(prompt_id=self.id, prompt=self.conversation, rubrics=items, example_tags=())


class MetaLine(Value):
    """A criterion of HealthBench's meta-evaluation, judged by physicians on one answer. Unknown fields are ignored."""

    prompt_id: str
    completion_id: str = Field(min_length=1)
    prompt: tuple[Message, ...]
    completion: str
    rubric: str
    category: str
    binary_labels: tuple[bool, ...] = Field(min_length=1)


class ChoiceLine(Value):
    """A question in MedQA's format. Unknown fields are ignored."""

    question: str = Field(min_length=1)
    options: dict[str, str] = Field(min_length=2)
    answer_idx: str
    id: str = ""

    def to_example(self, number: int) -> Example:
        """The question as an example. Raises ValueError if the right letter is none of the options'."""
        if self.answer_idx not in self.options or not set(self.options) <= set(ascii_uppercase):
            raise ValueError("answer_idx must be the letter of one of the options, and letters are A to Z")
        options = "\n".join(f"{letter}. {text}" for letter, text in sorted(self.options.items()))
        return Choice(
            prompt_id=self.id or f"line-{number}",
            prompt=(Message(role="user", content=f"{self.question}\n\n{options}\n\n{ONE_LETTER}"),),
            rubrics=(RubricItem(criterion=f"Chooses {self.answer_idx}.", points=1, tags=()),),
            example_tags=(),
            letter=self.answer_idx,
            options=frozenset(self.options),
        )


Format = Literal["healthbench", "professional", "meta", "choice"]
_MARKS: dict[bytes, Format] = {
    b'"rubric_items"': "professional",
    b'"binary_labels"': "meta",
    b'"answer_idx"': "choice",
}


def format_of(line: bytes) -> Format:
    """The format of a line, by a field that only this format has."""
    marks: dict[bytes, Format] = {
        b'"rubric_items"': "professional",
        b'"binary_labels"': "meta",
        b'"answer_idx"': "choice",
    }
    return next((name for mark, name in marks.items() if mark in line), "healthbench")


def completions(lines: Iterable[MetaLine]) -> list[Example]:
    """The answers of a meta-evaluation, each once with all criteria that physicians judged on it."""
    by_answer: dict[str, list[MetaLine]] = {}
    for line in lines:
        by_answer.setdefault(line.completion_id, []).append(line)
    return [
        Completion(
            prompt_id=name,
            prompt=group[0].prompt,
            rubrics=tuple(RubricItem(criterion=one.rubric, points=1, tags=(one.category,)) for one in group),
            example_tags=(),
            answer=group[0].completion,
            labels=tuple(one.binary_labels for one in group),
        )
        for name, group in by_answer.items()
    ]


def grade_letter(example: Choice, answer: str) -> Grade:
    """Whether an answer settles on the right letter: its last capital letter that stands alone and is an option's."""
    found = [letter for letter in _LETTER.findall(answer) if letter in example.options]
    said = f"chooses {found[-1]}" if found else "names no option"
    return Grade(item=0, points=1, met=found[-1:] == [example.letter], explanation=f"The answer {said}.")


def majority(labels: Sequence[bool]) -> bool | None:
    """What most physicians said; None if as many said the opposite."""
    met = sum(labels)
    return None if 2 * met == len(labels) else 2 * met > len(labels)
