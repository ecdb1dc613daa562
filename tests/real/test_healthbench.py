"""The real HealthBench examples through loading, both ways of grading and scoring; the judge is simulated.

No text of HealthBench may stand here or be printed: it carries a canary.
"""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from muser.core.packaged import HEALTHBENCH, fetch
from muser.core.recipe import EvaluationSettings, Recipe
from muser.evals.examples import Example
from muser.evals.grading import evaluate, score_run
from muser.evals.healthbench import load_examples
from muser.evals.judges import compare_judges
from muser.evals.scores import summarize
from muser.evals.stored import as_simple_evals, score_files
from muser.evals.verdicts import judged_run
from muser.store.file.database import Store

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def benchmark() -> Path:
    return fetch(HEALTHBENCH)


def test_all_real_examples_are_read(benchmark: Path) -> None:
    examples = load_examples(benchmark)
    assert len(examples) == 500
    assert sum(len(one.rubrics) for one in examples) == 5965
    assert sum(len(one.prompt) > 1 for one in examples) == 213


def plain_mean(examples: Sequence[Example], met: dict[tuple[str, int], bool]) -> float:
    """The overall score from the paper's formula alone."""
    scores = []
    for one in examples:
        possible = sum(item.points for item in one.rubrics if item.points > 0)
        earned = sum(item.points for n, item in enumerate(one.rubrics) if met[one.prompt_id, n])
        if possible:
            scores.append(earned / possible)
    return min(1.0, max(0.0, sum(scores) / len(scores)))


def test_grades_of_all_real_items_add_up_by_the_published_formula(benchmark: Path, tmp_path: Path) -> None:
    examples = load_examples(benchmark)
    met = {(one.prompt_id, n): (len(item.criterion) % 3 > 0) for one in examples for n, item in enumerate(one.rubrics)}
    lines = [json.dumps({"prompt_id": k, "rubric_index": n, "criteria_met": one}) for (k, n), one in met.items()]
    (tmp_path / "grades.jsonl").write_text("\n".join(lines))
    found = as_simple_evals(summarize(score_files(examples, tmp_path / "grades.jsonl")))
    assert found.score == pytest.approx(plain_mean(examples, met), abs=1e-9)
    assert found.metrics["overall_score:n_samples"] == 500
    assert {"axis:accuracy", "axis:completeness", "level:cluster"} <= set(found.metrics)
    assert any(name.startswith("theme:") for name in found.metrics)


def test_a_whole_rubric_in_one_call_gives_the_same_verdicts_on_real_rubrics(
    benchmark: Path, tmp_path: Path, simulated: str
) -> None:
    examples = load_examples(benchmark, n=120)
    items = sum(len(one.rubrics) for one in examples)

    def graded(store: Store, grading: str) -> int:
        recipe = Recipe(
            name=grading,
            models={"main": {"base_url": simulated, "model": "simulated"}},
            evaluation=EvaluationSettings(file=str(benchmark), examples=120, grading=grading),
            folder=tmp_path,
        )
        summary = asyncio.run(evaluate(recipe, store))
        assert (summary.done, summary.items, summary.unjudged) == (120, items, 0)
        assert len(score_run(recipe, store, grading)) == 120
        return next(usage.calls for usage in summary.usage if usage.role == "judge")

    with Store.open(tmp_path / "muser.db") as store:
        assert graded(store, "item") == items
        # Not 120: the simulated judge says the same about many items, which counts as a loop, and they are asked alone.
        assert graded(store, "example") < items / 4
        keyed = {one.prompt_id: one for one in examples}
        compared = compare_judges(keyed, [judged_run(store, "item"), judged_run(store, "example")])
    assert (compared.items, compared.other_answers) == (items, 0)
    assert compared.pairs[0].overall.observed > 0.99
