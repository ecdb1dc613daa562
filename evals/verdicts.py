"""What judges decided, read from a run or from a file of grades."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.recipe import Recipe
from ..core.types import Value
from ..store.file.database import Store
from ..store.queries.answers import grades_of
from ..store.records.runs import Run
from .examples import Example
from .grading import benchmark_of
from .judges import Item, Judged
from .stored import read_grades


class JudgeUsed(Value):
    """Who graded a run, and how: without it a score cannot be compared with another."""

    model: str
    """the recipe's name for the model"""
    served_as: str
    """the name that the endpoint serves"""
    revision: str
    """what tells models of that name apart; empty if nothing does"""
    reasoning: str
    """the role's reasoning effort: auto, on, off, low, medium or high"""
    grading: str
    """item: one call an item; example: one call for an example's whole rubric"""
    prompt: str
    """SHA-256 of the prompt's text, in hex"""


def judge_of(run: Run, recipe: Recipe) -> JudgeUsed | None:
    """The judge of an evaluation run and its recipe; None if its answers were graded without one."""
    identity: dict[str, Any] = run.identity
    role = identity["roles"].get("judge")
    if role is None:
        return None
    name, grading = role["model"], benchmark_of(recipe).grading
    settings = identity["models"][name.partition("@")[0]]
    return JudgeUsed(
        model=name,
        served_as=settings["model"] or "",
        revision=identity["revisions"].get(name) or settings.get("revision") or "",
        reasoning=role["reasoning"],
        grading=grading,
        prompt=identity["texts"]["prompts.rubric" if grading == "example" else "prompts.judge"],
    )


def judged_run(store: Store, run_id: str) -> Judged:
    """What the judge of an evaluation run decided."""
    verdicts: dict[Item, bool | None] = {}
    answers: dict[str, str] = {}
    for key, answer, number, met in grades_of(store, run_id):
        verdicts[Item(key, number)] = met
        answers[key] = str(answer)
    return Judged(run_id, verdicts, answers)


def judged_file(path: Path, examples: Mapping[str, Example]) -> Judged:
    """What a file of grades says about the first answer to each of the keyed examples."""
    first = {example.prompt_id: key for key, example in reversed(list(examples.items()))}
    grades = read_grades(path, {examples[key].prompt_id: examples[key] for key in first.values()})
    verdicts = {Item(first[name], one.item): one.met for name, given in grades.items() for one in given}
    return Judged(str(path), verdicts, {})
