"""HealthBench's arithmetic."""

import json
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muser.core.errors import EvaluationError
from muser.core.types import Grade, Message, RubricItem
from muser.evals.examples import Example
from muser.evals.lengths import RATES, adjusted
from muser.evals.scores import (
    ExampleScore,
    Score,
    aggregate,
    example_score,
    rubric_tag_scores,
    score_bounds,
    score_grades,
    summarize,
    values_by_example,
)

ITEMS = (
    RubricItem(criterion="Asks since when.", points=7, tags=("level:example", "axis:context_awareness")),
    RubricItem(criterion="Is clear.", points=3, tags=("level:cluster", "axis:communication_quality")),
    RubricItem(criterion="Gives a dose unasked.", points=-8, tags=("level:example", "axis:accuracy")),
    RubricItem(criterion="Is vague.", points=-2, tags=("level:example", "axis:context_awareness")),
)


def example(prompt_id: str, items: Sequence[RubricItem] = ITEMS, tags: Sequence[str] = ("theme:hedging",)) -> Example:
    prompt = (Message(role="user", content="I feel dizzy."),)
    return Example(prompt_id=prompt_id, prompt=prompt, rubrics=tuple(items), example_tags=tuple(tags))


def graded(one: Example, met: Sequence[bool | None]) -> ExampleScore:
    grades = [
        Grade(item=i, points=item.points, met=m) for i, (item, m) in enumerate(zip(one.rubrics, met, strict=True))
    ]
    return score_grades(one, grades)


def scored(*values: float) -> Score | None:
    return aggregate([(str(number), value) for number, value in enumerate(values)])


@pytest.mark.parametrize(
    ("met", "score"),
    [
        ([True, True, False, False], 1.0),
        ([True, False, False, False], 0.7),
        ([True, True, True, False], 0.2),
        ([False, False, True, True], -1.0),
        ([False, False, False, False], 0.0),
    ],
)
def test_a_score_is_points_met_over_positive_points_and_may_be_negative(met: list[bool], score: float) -> None:
    assert example_score(ITEMS, met) == pytest.approx(score)


def test_a_rubric_without_a_positive_item_has_no_score() -> None:
    assert example_score(ITEMS[2:], [True, False]) is None
    assert example_score([], []) is None


def test_an_item_that_was_not_judged_leaves_the_score_undefined_and_never_counts_as_false() -> None:
    assert example_score(ITEMS, [True, True, False, None]) is None
    assert example_score(ITEMS, [None, True, False, False]) is None


def test_a_score_is_bounded_by_what_the_items_without_a_verdict_can_become() -> None:
    # 7 are earned; open are 3 and -8.
    bounds = score_bounds(ITEMS, [True, None, None, False])
    assert bounds is not None
    found = (bounds.lowest, bounds.none_met, bounds.all_met, bounds.highest)
    assert found == pytest.approx((-0.1, 0.7, 0.2, 1.0))
    assert score_bounds(ITEMS[2:], [None, None]) is None


def test_a_score_is_adjusted_for_length_as_published_beside_the_raw_one() -> None:
    one = graded(example("a"), [True, True, False, False]).model_copy(update={"characters": 913})
    report = summarize([one, one.model_copy(update={"score": 0.5, "characters": 4000})], rate=RATES["professional"])
    assert adjusted(1, 913, RATES["professional"]) == pytest.approx(1.0319578)
    assert report.length_adjusted is not None
    assert report.length_adjusted.mean == pytest.approx((1.0319578 + 0.5 - 0.0147 * 4) / 2)
    assert report.overall is not None
    assert report.overall.mean == pytest.approx(0.75)
    assert summarize([one]).length_adjusted is None


def test_a_rubric_tag_is_scored_over_its_own_items_only() -> None:
    assert rubric_tag_scores(ITEMS, [True, False, True, True]) == {
        "level:example": pytest.approx((7 - 8 - 2) / 7),
        "level:cluster": 0.0,
        "axis:context_awareness": pytest.approx((7 - 2) / 7),
        "axis:communication_quality": 0.0,
    }


def test_a_rubric_tag_is_left_out_where_one_of_its_items_was_not_judged() -> None:
    scores = rubric_tag_scores(ITEMS, [True, True, False, None])
    assert scores == {"level:cluster": 1.0, "axis:communication_quality": 1.0}


def test_an_example_tag_receives_the_examples_overall_score() -> None:
    one = graded(example("a", tags=("theme:hedging", "physician_agreed_category:x")), [True, False, False, False])
    report = summarize([one])
    assert report.example_tags["theme:hedging"].mean == pytest.approx(0.7)
    assert report.example_tags["physician_agreed_category:x"].mean == pytest.approx(0.7)


def test_a_missing_grade_counts_as_not_judged() -> None:
    one = score_grades(example("a"), [Grade(item=0, points=7, met=True)])
    assert (one.score, one.unjudged) == (None, 3)


@pytest.mark.parametrize("grade", [Grade(item=4, points=7, met=True), Grade(item=0, points=6, met=True)])
def test_grades_of_another_rubric_are_refused(grade: Grade) -> None:
    with pytest.raises(EvaluationError, match="does not match the rubric"):
        score_grades(example("a"), [grade])


def test_the_mean_is_clipped_after_averaging_not_before() -> None:
    low, mixed = scored(-1.0, 0.5), scored(-0.2, 0.8)
    assert low is not None
    assert low.mean == 0.0
    assert mixed is not None
    assert mixed.mean == pytest.approx(0.3)


def test_the_bootstrap_deviation_of_two_values_is_that_of_the_three_means_they_can_have() -> None:
    score = scored(0.0, 1.0)
    assert score is not None
    # Means 0, 1/2 and 1 with probabilities 1/4, 1/2 and 1/4: variance 1/8.
    assert score.std == pytest.approx(0.125**0.5, abs=0.02)
    assert (score.low, score.high) == (0.0, 1.0)


def test_resamples_are_clipped_too() -> None:
    score = scored(-4.0, 1.0)
    assert score is not None
    # Means -4 and -1.5 become 0, so only the quarter of resamples at 1 is left above: variance 3/16.
    assert score.std == pytest.approx((3 / 16) ** 0.5, abs=0.02)
    assert (score.mean, score.low, score.high) == (0.0, 0.0, 1.0)


def test_nothing_to_average_is_no_score() -> None:
    assert aggregate([]) is None
    report = summarize([])
    assert (report.overall, report.examples) == (None, 0)


def test_a_report_says_how_many_examples_were_left_out_and_why() -> None:
    report = summarize(
        [
            graded(example("a"), [True, True, False, False]),
            graded(example("b"), [True, False, False, None]),
            graded(example("c", ITEMS[2:]), [False, False]),
        ]
    )
    assert report.overall is not None
    assert (report.overall.n, report.overall.mean) == (1, 1.0)
    assert (report.examples, report.left_out_unjudged, report.left_out_undefined) == (3, 1, 1)
    assert (report.items, report.items_unjudged) == (10, 1)
    assert report.example_tags["theme:hedging"].n == 1
    assert report.rubric_tags["axis:communication_quality"].n == 2


def test_a_report_groups_tags_by_prefix_and_becomes_json() -> None:
    report = summarize([graded(example("a"), [True, True, False, False])])
    assert set(report.group("axis")) == {"context_awareness", "communication_quality"}
    assert set(report.group("theme")) == {"hedging"}
    assert json.loads(json.dumps(report.to_dict()))["overall"]["mean"] == 1.0


def test_repeats_of_an_example_are_averaged_for_paired_comparison() -> None:
    scores = [
        graded(example("a"), [True, False, False, False]),
        graded(example("a"), [False, True, False, False]),
        graded(example("b"), [True, False, False, None]),
        graded(example("b"), [True, False, False, False]),
        graded(example("c"), [None, False, False, False]),
    ]
    assert values_by_example(scores) == {"a": pytest.approx(0.5), "b": pytest.approx(0.7), "c": None}


points = st.integers(-10, 10)
rubric = st.lists(
    st.tuples(points, st.frozensets(st.sampled_from(["axis:a", "axis:b", "level:c"])), st.booleans()), max_size=8
)
values = st.lists(st.floats(-3, 1), min_size=1, max_size=20)


def unzip(drawn: list[tuple[int, frozenset[str], bool]]) -> tuple[list[RubricItem], list[bool]]:
    return [RubricItem(criterion="c", points=p, tags=tuple(sorted(t))) for p, t, _ in drawn], [met for *_, met in drawn]


@given(rubric)
def test_a_score_is_undefined_exactly_when_nothing_positive_can_be_earned(
    drawn: list[tuple[int, frozenset[str], bool]],
) -> None:
    score = example_score(*unzip(drawn))
    assert (score is None) == all(p <= 0 for p, *_ in drawn)
    assert score is None or score <= 1


@given(rubric, st.randoms(use_true_random=False))
def test_the_order_of_rubric_items_does_not_matter(drawn: list[tuple[int, frozenset[str], bool]], rng: Random) -> None:
    shuffled = drawn.copy()
    rng.shuffle(shuffled)
    assert example_score(*unzip(shuffled)) == example_score(*unzip(drawn))
    assert rubric_tag_scores(*unzip(shuffled)) == rubric_tag_scores(*unzip(drawn))


@given(rubric)
def test_a_tag_that_every_item_has_is_scored_like_the_whole(drawn: list[tuple[int, frozenset[str], bool]]) -> None:
    everywhere = [(p, tags | {"all"}, met) for p, tags, met in drawn]
    score = example_score(*unzip(drawn))
    assert rubric_tag_scores(*unzip(everywhere)).get("all") == score


@given(rubric, st.data())
def test_meeting_one_more_item_moves_the_score_in_the_direction_of_its_points(
    drawn: list[tuple[int, frozenset[str], bool]], data: st.DataObject
) -> None:
    items, met = unzip(drawn)
    before = example_score(items, met)
    if before is not None:
        at = data.draw(st.integers(0, len(items) - 1))
        after = example_score(items, [*met[:at], True, *met[at + 1 :]])
        assert after is not None
        assert (after - before) * items[at].points >= 0


@given(values, st.randoms(use_true_random=False))
def test_an_aggregate_is_bounded_repeatable_and_blind_to_order(drawn: list[float], rng: Random) -> None:
    score = scored(*drawn)
    assert score is not None
    assert 0 <= score.low <= score.high <= 1
    assert 0 <= score.mean <= 1
    assert score.n == score.prompts == len(drawn)
    shuffled = drawn.copy()
    rng.shuffle(shuffled)
    assert scored(*shuffled) == score
