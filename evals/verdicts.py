"""What judges decided, read from a run or from a file of grades."""

from collections.abc import Mapping
from pathlib import Path

from ..store.file.database import Store
from ..store.queries.answers import grades_of
from .examples import Example
from .judges import Item, Judged
from .stored import read_grades


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
