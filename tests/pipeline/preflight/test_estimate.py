"""The cost of a recipe from a few samples: means, intervals that hold the truth, and hours as an honest range."""

from random import Random

import pytest

from muser.core.recipe import Recipe
from muser.pipeline.preflight import estimate
from muser.pipeline.preflight.estimate import Cost, count_gpus, estimate_cost


def cost(calls: int = 6, tokens: int = 100, seconds: float = 2.0) -> Cost:
    return Cost(calls, 10 * tokens, 5 * tokens, tokens, seconds)


def test_alike_samples_leave_no_doubt() -> None:
    found = estimate_cost([(1000, [cost()] * 4)], seconds=2.0, in_flight=50, gpus=8)
    assert found is not None
    assert (found.samples, found.tried, found.gpus) == (1000, 4, 8)
    assert (found.calls.low, found.calls.value, found.calls.high) == (6000, 6000, 6000)
    assert found.tokens_cached.value == 500_000
    assert found.hours_least.value == pytest.approx(1000 * 2.0 / 50 / 3600)
    assert found.hours_most.value == pytest.approx(1000 * 2.0 / 4 / 3600)


def test_kinds_are_weighed_by_how_many_there_are() -> None:
    found = estimate_cost([(10, [cost(6)] * 2), (90, [cost(5)] * 2)], seconds=2.0, in_flight=8, gpus=1)
    assert found is not None
    assert found.calls.value == 10 * 6 + 90 * 5


def test_a_kind_that_was_not_tried_leaves_no_estimate() -> None:
    assert estimate_cost([(10, [cost()]), (5, [])], seconds=1.0, in_flight=8, gpus=1) is None
    assert estimate_cost([(0, []), (0, [])], seconds=1.0, in_flight=8, gpus=1) is None
    assert estimate_cost([(10, [cost()]), (0, [])], seconds=1.0, in_flight=8, gpus=1) is not None


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    random, held = Random(7), 0
    population = [cost(tokens=random.randint(200, 1800)) for _ in range(400)]
    truth = sum(each.tokens_out for each in population)
    for seed in range(60):
        tried = Random(seed).sample(population, 16)
        found = estimate_cost([(400, tried)], seconds=2.0, in_flight=8, gpus=1, seed=seed)
        assert found is not None
        held += found.tokens_out.low <= truth <= found.tokens_out.high
    assert held >= 50


def test_the_same_trial_gives_the_same_estimate() -> None:
    tried = [cost(tokens=n) for n in (90, 210, 400)]
    one, two = (estimate_cost([(100, tried)], seconds=3.0, in_flight=8, gpus=1) for _ in range(2))
    assert one == two


@pytest.mark.parametrize(
    ("model", "gpus"),
    [
        ({"base_url": "http://a/v1"}, 1),
        ({"base_url": ["http://a/v1", "http://b/v1"]}, 2),
        ({"base_url": "http://127.0.0.1:1/v1"}, 1),
        ({"serve": {}}, 1),
        ({"serve": {"options": {"tensor_parallel_size": 4, "data-parallel-size": 2}}}, 8),
    ],
)
def test_gpus_are_counted_by_servers_and_their_options(
    model: dict[str, object], gpus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "has_gpu", lambda: True)
    recipe = Recipe.model_validate({"name": "r", "samples": 1, "models": {"m": {"model": "x", **model}}})
    assert count_gpus(recipe, recipe.call_roles()) == gpus


@pytest.mark.parametrize(("model", "gpus"), [({"serve": {}}, 0), ({"base_url": "http://127.0.0.1:1/v1"}, 0)])
def test_a_machine_without_a_gpu_spends_no_gpu_hours(
    model: dict[str, object], gpus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "has_gpu", lambda: False)
    recipe = Recipe.model_validate({"name": "r", "samples": 1, "models": {"m": {"model": "x", **model}}})
    assert count_gpus(recipe, recipe.call_roles()) == gpus
