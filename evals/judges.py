"""Compares judges of the same answers: agreement by axis and theme, the items they differ on, people's labels."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from ..core.errors import EvaluationError
from ..core.types import Value
from .agreement import Agreement, cohen_kappa, fleiss_kappa, krippendorff_alpha
from .correction import Corrected, PromptCounts, correct
from .examples import Example
from .formats import Completion, majority
from .scores import example_score

SHOWN = 10
"""Items that the judges differ on and that are listed."""


class Item(NamedTuple):
    """One rubric item of one answer."""

    key: str
    number: int


class Judged(NamedTuple):
    """What one judge decided: verdicts by item (None: no verdict), and a digest of each answer where it is known."""

    name: str
    verdicts: Mapping[Item, bool | None]
    answers: Mapping[str, str]


class PairAgreement(Value):
    """How two judges agree: Cohen's kappa, overall and for each axis and theme."""

    first: str
    second: str
    overall: Agreement
    by_tag: dict[str, Agreement]
    """by axis:NAME or theme:NAME; tags on which an item was judged by both"""


class Differed(Value):
    """A rubric item that the judges differ on."""

    sample: str
    """the example's key"""
    item: int
    axis: str
    """the axis that the item belongs to, in words"""
    points: float
    criterion: str
    """what the judges decided"""
    met: dict[str, bool]
    """each judge's verdict"""


class JudgeComparison(Value):
    """Several judges of the same answers."""

    judges: tuple[str, ...]
    """runs and files, as they were given; people's labels last"""
    items: int
    """rubric items of the answers that at least two judges graded"""
    other_answers: int
    """examples left out because the judges saw different answers"""
    pairs: tuple[PairAgreement, ...]
    """every two judges"""
    fleiss: Agreement | None
    """all judges on the items that each of them judged; none if there is no such item, or for two judges"""
    krippendorff: Agreement
    """all judges on the items that at least two of them judged"""
    never_met: int
    """items that every judge calls not met"""
    always_met: int
    """items that every judge calls met"""
    differed: int
    """items that the judges differ on"""
    look_first: tuple[Differed, ...]
    """the items they differ on that weigh most"""
    balanced_f1: dict[str, dict[str, float]]
    """judge → its balanced F1 against each physician's label, by category and over them; a meta-evaluation's only"""
    corrected: dict[str, Corrected]
    """judge → its error against people's labels and the corrected score; empty without labels"""


def compare_judges(
    examples: Mapping[str, Example], models: Sequence[Judged], people: Judged | None = None
) -> JudgeComparison:
    """Compares the judges, people among them, on the same answers. Raises EvaluationError if there are none."""
    people = people or _physicians(examples)
    judges = [*models, *([people] if people else [])]
    graded = Counter(key for one in judges for key in {item.key for item in one.verdicts})
    keys = [key for key in examples if graded[key] > 1 and _same_answer(key, judges)]
    items = [Item(key, n) for key in keys for n in range(len(examples[key].rubrics))]
    rows = [[one.verdicts.get(item) for one in judges] for item in items]
    if not any(len(row) - row.count(None) > 1 for row in rows):
        raise EvaluationError(
            "no answer was graded by two of these judges",
            todo="grade the same answers: muser eval regrade RUN --judge NAME",
        )
    clusters = [examples[item.key].prompt_id for item in items]
    differing = [(item, row) for item, row in zip(items, rows, strict=True) if {True, False} <= set(row)]
    return JudgeComparison(
        judges=tuple(one.name for one in judges),
        items=len(items),
        other_answers=sum(count > 1 for count in graded.values()) - len(keys),
        pairs=tuple(_pairs(examples, items, judges)),
        fleiss=fleiss_kappa(rows, clusters) if len(judges) > 2 and any(None not in row for row in rows) else None,
        krippendorff=krippendorff_alpha(rows, clusters),
        never_met=sum(set(row) == {False} for row in rows),
        always_met=sum(set(row) == {True} for row in rows),
        differed=len(differing),
        look_first=tuple(_differed(examples, judges, item, row) for item, row in _heaviest(examples, differing)),
        balanced_f1={one.name: f1 for one in models if (f1 := balanced_f1(examples, one))},
        corrected={one.name: correct(list(_counts(examples, one, people))) for one in models} if people else {},
    )


def _physicians(examples: Mapping[str, Example]) -> Judged | None:
    """What most physicians said about each item of a meta-evaluation; None for another benchmark."""
    judged = {key: example for key, example in examples.items() if isinstance(example, Completion)}
    verdicts = {Item(key, n): majority(one) for key, example in judged.items() for n, one in enumerate(example.labels)}
    return Judged("physicians", verdicts, {}) if verdicts else None


def balanced_f1(examples: Mapping[str, Example], judge: Judged) -> dict[str, float]:
    """The mean of the F1 for met and for not met, by category, and `overall` their mean, as in HealthBench's paper."""
    pairs: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for key, example in examples.items():
        for number, labels in enumerate(example.labels if isinstance(example, Completion) else ()):
            met = judge.verdicts.get(Item(key, number))
            if met is not None:
                pairs[example.rubrics[number].tags[0]] += [(met, label) for label in labels]
    found = {category: _balanced(pairs[category]) for category in sorted(pairs)}
    return found | {"overall": sum(found.values()) / len(found)} if found else {}


def _balanced(pairs: Sequence[tuple[bool, bool]]) -> float:
    def f1(kind: bool) -> float:
        said, wanted = sum(met is kind for met, _ in pairs), sum(label is kind for _, label in pairs)
        hits = sum(met is label is kind for met, label in pairs)
        return 2 * hits / (said + wanted) if said + wanted else 0.0

    return (f1(True) + f1(False)) / 2


def _same_answer(key: str, judges: Sequence[Judged]) -> bool:
    """Whether no two judges saw different answers to the example."""
    return len({one.answers[key] for one in judges if key in one.answers}) < 2


def _pairs(examples: Mapping[str, Example], items: Sequence[Item], judges: Sequence[Judged]) -> Iterator[PairAgreement]:
    for first, second in combinations(judges, 2):
        both = [item for item in items if None not in (first.verdicts.get(item), second.verdicts.get(item))]
        if both:
            yield _pair(examples, both, first, second)


def _pair(examples: Mapping[str, Example], items: Sequence[Item], first: Judged, second: Judged) -> PairAgreement:
    by_tag: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        for tag in _tags(examples[item.key], item.number):
            by_tag[tag].append(item)

    def kappa(chosen: Sequence[Item]) -> Agreement:
        clusters = [examples[item.key].prompt_id for item in chosen]
        mine, others = ([one.verdicts.get(item) for item in chosen] for one in (first, second))
        return cohen_kappa(mine, others, clusters)

    by = {tag: kappa(by_tag[tag]) for tag in sorted(by_tag)}
    return PairAgreement(first=first.name, second=second.name, overall=kappa(items), by_tag=by)


def _tags(example: Example, number: int) -> Iterator[str]:
    yield from (tag for tag in example.rubrics[number].tags if tag.startswith(("axis:", "cluster:")))
    yield from (tag for tag in example.example_tags if tag.startswith("theme:"))


Differing = tuple[Item, list[bool | None]]


def _heaviest(examples: Mapping[str, Example], differing: Sequence[Differing]) -> Sequence[Differing]:
    def weight(one: Differing) -> float:
        return -abs(examples[one[0].key].rubrics[one[0].number].points)

    return sorted(differing, key=weight)[:SHOWN]


def _differed(
    examples: Mapping[str, Example], judges: Sequence[Judged], item: Item, row: Sequence[bool | None]
) -> Differed:
    rubric = examples[item.key].rubrics[item.number]
    return Differed(
        sample=item.key,
        item=item.number,
        axis=rubric.axis,
        points=rubric.points,
        criterion=rubric.criterion,
        met={one.name: met for one, met in zip(judges, row, strict=True) if met is not None},
    )


def _counts(examples: Mapping[str, Example], judge: Judged, people: Judged) -> Iterator[PromptCounts]:
    """The judge's answers and people's labels of each prompt, for `correct`."""
    labels = {item: met for item, met in people.verdicts.items() if met is not None}
    graded = {item.key for item in judge.verdicts}
    by_prompt: dict[str, list[str]] = defaultdict(list)
    for key, example in examples.items():
        if key in graded:
            by_prompt[example.prompt_id].append(key)
    for keys in by_prompt.values():
        yield PromptCounts(
            *(sum(column) for column in zip(*(_count(examples[k], k, judge, labels) for k in keys), strict=True))
        )


def _count(example: Example, key: str, judge: Judged, labels: Mapping[Item, bool]) -> PromptCounts:
    items = [Item(key, number) for number in range(len(example.rubrics))]
    found = [judge.verdicts.get(item) for item in items]
    score = example_score(example.rubrics, found)
    base = example_score(example.rubrics, [True] * len(items))
    pairs = [(labels[item], met) for item, met in zip(items, found, strict=True) if item in labels and met is not None]
    return PromptCounts(
        answers=score is not None,
        earned=score or 0.0,
        base=base if base is not None and score is not None else 0.0,
        met=sum(label for label, _ in pairs),
        hits=sum(label and met for label, met in pairs),
        unmet=sum(not label for label, _ in pairs),
        rejections=sum(not label and not met for label, met in pairs),
    )
