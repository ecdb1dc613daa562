"""HealthBench's scoring: a judge's grades become scores per example, and these become a report.

The formulas are those of OpenAI's simple-evals, so scores are comparable, with one difference: simple-evals retries a
judge until it answers. Here a grade may stay missing; a score that needs it is then undefined. A missing grade never
counts as not met.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from math import fsum
from typing import Any

from ..core.errors import EvaluationError
from ..core.types import Grade, RubricItem, Value
from .examples import Example
from .intervals import spread
from .lengths import adjusted

Met = bool | None
"""Whether a rubric item was met; None if the judge failed."""


class Bounds(Value):
    """What a score can be once the items without a verdict are judged. Without any such item all four are equal."""

    lowest: float
    """each item without a verdict loses points: met if its points are negative, else not met"""
    highest: float
    """each item without a verdict brings points: met if its points are positive, else not met"""
    none_met: float
    """no item without a verdict is met"""
    all_met: float
    """every item without a verdict is met"""


class ExampleScore(Value):
    """One graded answer. `score` is None if an item was not judged or no item has positive points."""

    prompt_id: str
    score: float | None
    example_tags: tuple[str, ...]
    rubric_tags: dict[str, float]
    items: int
    unjudged: int
    bounds: Bounds | None = None
    """None if no item has positive points."""
    characters: int | None = None
    """Of the answer; None if only its grades are known."""
    forged: bool = False
    """The answer contains a tag of the judge's prompt or a forged turn; the judge saw it escaped."""


class Score(Value):
    """A mean over answers, clipped to [0, 1], with its bootstrap standard deviation and 95 % interval."""

    mean: float
    n: int
    """answers"""
    prompts: int
    """different prompts that they answer; the interval counts these, since repeats are not independent"""
    std: float
    low: float
    high: float


class Report(Value):
    """The scores of one evaluation, and how many examples are left out: not fully judged, or no positive points."""

    overall: Score | None
    bounds: Bounds | None = None
    """the overall score over all answers, whatever the items without a verdict turn out to be"""
    length_adjusted: Score | None = None
    """the overall score less what the answers' length may have earned; none for a benchmark without a published rate"""
    example_tags: dict[str, Score]
    rubric_tags: dict[str, Score]
    examples: int
    left_out_unjudged: int
    left_out_undefined: int
    items: int
    items_unjudged: int
    forged: int

    def group(self, prefix: str) -> dict[str, Score]:
        """Scores by what follows `prefix:` in a tag: `theme`, `axis`, `level`."""
        scores = self.example_tags | self.rubric_tags
        return {tag.partition(":")[2]: score for tag, score in scores.items() if tag.startswith(f"{prefix}:")}

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return self.model_dump(mode="json")


def example_score(items: Sequence[RubricItem], met: Sequence[Met]) -> float | None:
    """Points of the met items divided by all positive points; not clipped, so it can be below 0.

    None if no item has positive points or any item was not judged.
    """
    judged = list(zip(items, met, strict=True))
    possible = sum(item.points for item in items if item.points > 0)
    if possible == 0 or None in met:
        return None
    return sum(item.points for item, is_met in judged if is_met) / possible


def score_bounds(items: Sequence[RubricItem], met: Sequence[Met]) -> Bounds | None:
    """What `example_score` can become; None if no item has positive points."""

    def score(unjudged: Callable[[RubricItem], bool]) -> float | None:
        known = [unjudged(item) if one is None else one for item, one in zip(items, met, strict=True)]
        return example_score(items, known)

    found = {
        "lowest": score(lambda item: item.points < 0),
        "highest": score(lambda item: item.points > 0),
        "none_met": score(lambda _: False),
        "all_met": score(lambda _: True),
    }
    return None if found["lowest"] is None else Bounds.model_validate(found)


def rubric_tag_scores(items: Sequence[RubricItem], met: Sequence[Met]) -> dict[str, float]:
    """`example_score` over the items of each tag (axes, levels); tags with an undefined score are left out."""
    by_tag: dict[str, list[tuple[RubricItem, Met]]] = defaultdict(list)
    for item, is_met in zip(items, met, strict=True):
        for tag in item.tags:
            by_tag[tag].append((item, is_met))
    scores = {tag: example_score(*zip(*tagged, strict=True)) for tag, tagged in by_tag.items()}
    return {tag: score for tag, score in scores.items() if score is not None}


def score_grades(example: Example, grades: Iterable[Grade]) -> ExampleScore:
    """The score of one answer. An item without a grade counts as not judged.

    Raises EvaluationError if the grades belong to another rubric.
    """
    items = example.rubrics
    met: list[Met] = [None] * len(items)
    for grade in grades:
        # A grade carries the points and not the criterion's text, so the points must tell another rubric apart.
        if not 0 <= grade.item < len(items) or items[grade.item].points != grade.points:
            raise EvaluationError(
                f"the grade of item {grade.item} does not match the rubric",
                where=f"prompt_id {example.prompt_id}",
                todo="score with the rubric file that the answers were graded with, or grade again",
            )
        met[grade.item] = grade.met
    return ExampleScore(
        prompt_id=example.prompt_id,
        score=example_score(items, met),
        example_tags=example.example_tags,
        rubric_tags=rubric_tag_scores(items, met),
        items=len(items),
        unjudged=met.count(None),
        bounds=score_bounds(items, met),
    )


def aggregate(values: Sequence[tuple[str, float]], *, seed: int = 0) -> Score | None:
    """Clipped mean of (prompt id, score) pairs with its spread; None if there are none."""
    if not values:
        return None
    found = spread(values, seed=seed)
    scores = [value for _, value in values]
    return Score(
        mean=_clipped_mean(scores),
        n=len(values),
        prompts=len({prompt_id for prompt_id, _ in values}),
        std=found.std,
        low=found.low,
        high=found.high,
    )


def summarize(scores: Iterable[ExampleScore], *, rate: float | None = None, seed: int = 0) -> Report:
    """The report over graded answers: overall, by example tag (themes) and by rubric tag (axes, levels).

    `rate` is the benchmark's in `lengths.RATES`.
    """
    scores = list(scores)
    by_example_tag: dict[str, list[tuple[str, float]]] = defaultdict(list)
    by_rubric_tag: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for one in scores:
        if one.score is not None:
            for tag in one.example_tags:
                by_example_tag[tag].append((one.prompt_id, one.score))
        for tag, value in one.rubric_tags.items():
            by_rubric_tag[tag].append((one.prompt_id, value))
    return Report(
        overall=aggregate([(one.prompt_id, one.score) for one in scores if one.score is not None], seed=seed),
        bounds=_overall_bounds([one.bounds for one in scores if one.bounds]),
        length_adjusted=aggregate(_length_adjusted(scores, rate), seed=seed) if rate is not None else None,
        example_tags=_by_tag(by_example_tag, seed),
        rubric_tags=_by_tag(by_rubric_tag, seed),
        examples=len(scores),
        left_out_unjudged=sum(one.score is None and one.unjudged > 0 for one in scores),
        left_out_undefined=sum(one.score is None and one.unjudged == 0 for one in scores),
        items=sum(one.items for one in scores),
        items_unjudged=sum(one.unjudged for one in scores),
        forged=sum(one.forged for one in scores),
    )


def _length_adjusted(scores: Iterable[ExampleScore], rate: float) -> list[tuple[str, float]]:
    return [
        (one.prompt_id, adjusted(one.score, one.characters, rate))
        for one in scores
        if one.score is not None and one.characters is not None
    ]


def _overall_bounds(bounds: Sequence[Bounds]) -> Bounds | None:
    names = list(Bounds.model_fields)
    found = {name: _clipped_mean([getattr(one, name) for one in bounds]) for name in names} if bounds else None
    return Bounds.model_validate(found) if found else None


def _clipped_mean(values: Sequence[float]) -> float:
    # Clipped after averaging, as simple-evals does: a clipped example would hide points that were lost.
    return min(1.0, max(0.0, fsum(values) / len(values)))


def values_by_example(scores: Iterable[ExampleScore]) -> dict[str, float | None]:
    """Each example's mean over its repeats, for paired comparison; None if no repeat has a score."""
    by_example: dict[str, list[float]] = defaultdict(list)
    for one in scores:
        by_example[one.prompt_id].extend([] if one.score is None else [one.score])
    return {prompt_id: fsum(values) / len(values) if values else None for prompt_id, values in by_example.items()}


def _by_tag(values: dict[str, list[tuple[str, float]]], seed: int) -> dict[str, Score]:
    scores = {tag: aggregate(values[tag], seed=seed) for tag in sorted(values)}
    return {tag: score for tag, score in scores.items() if score is not None}
