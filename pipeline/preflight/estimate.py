"""Estimates a recipe's cost from a few samples: means with bootstrap intervals, and hours as a range."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

from ...core.recipe import Recipe
from ...store.file.database import Store
from ...store.records.ledger import calls_of
from ...store.records.samples import get_trace

HERE = {"127.0.0.1", "localhost", "::1"}
RESAMPLES = 1000
WITHIN = 0.95


@dataclass(frozen=True)
class Cost:
    """The cost of one sample; `seconds` is from its start to its end."""

    calls: int
    tokens_in: int
    tokens_cached: int
    tokens_out: int
    seconds: float


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """The cost of `samples` samples, estimated from `tried` of them.

    `hours_least` assumes that each sample takes no longer at the recipe's full concurrency than in the trial run;
    `hours_most` assumes that more concurrency adds no throughput. GPU-hours are hours times `gpus`.
    """

    samples: int
    tried: int
    calls: Interval
    tokens_in: Interval
    tokens_cached: Interval
    tokens_out: Interval
    hours_least: Interval
    hours_most: Interval
    gpus: int

    def to_dict(self) -> dict[str, Any]:
        """The estimate as JSON values."""
        return asdict(self)


def costs_of(store: Store, samples: Sequence[str]) -> list[Cost]:
    """The costs of those of the samples that are done."""
    costs = []
    for sample in samples:
        trace, calls = get_trace(store, sample), calls_of(store, sample)
        if trace.status == "done":
            usages = [call.reply.usage for call in calls]
            costs.append(
                Cost(
                    calls=len(calls),
                    tokens_in=sum(usage.tokens_in for usage in usages),
                    tokens_cached=sum(usage.tokens_cached for usage in usages),
                    tokens_out=sum(usage.tokens_out for usage in usages),
                    seconds=trace.seconds or 0.0,
                )
            )
    return costs


def estimate_cost(
    groups: Sequence[tuple[int, Sequence[Cost]]], *, seconds: float, in_flight: int, gpus: int, seed: int = 0
) -> Estimate | None:
    """The cost of all samples; None if a group has no tried sample. A pure function.

    `groups` has, per kind of sample, their number and the costs of the tried ones. `seconds` is the duration of the
    trial run, with all its samples in flight; `in_flight` is the recipe's limit.
    """
    kinds = [(total, costs) for total, costs in groups if total]
    if not kinds or not all(costs for _, costs in kinds):
        return None
    random = Random(seed)
    drawn = [[random.choices(costs, k=len(costs)) for _, costs in kinds] for _ in range(RESAMPLES)]

    def interval(measure: Callable[[Cost], float]) -> Interval:
        def total(costs: Sequence[Sequence[Cost]]) -> float:
            return sum(
                number * sum(map(measure, each)) / len(each) for (number, _), each in zip(kinds, costs, strict=True)
            )

        totals = sorted(total(each) for each in drawn)
        edge = int(RESAMPLES * (1 - WITHIN) / 2)
        return Interval(total([costs for _, costs in kinds]), totals[edge], totals[-1 - edge])

    samples, tried = sum(total for total, _ in kinds), sum(len(costs) for _, costs in kinds)
    # Wall-clock seconds of the trial run per second that a sample was in flight.
    share = seconds / (sum(cost.seconds for _, costs in kinds for cost in costs) or 1.0)
    side_by_side = min(in_flight, samples)
    return Estimate(
        samples=samples,
        tried=tried,
        calls=interval(lambda cost: cost.calls),
        tokens_in=interval(lambda cost: cost.tokens_in),
        tokens_cached=interval(lambda cost: cost.tokens_cached),
        tokens_out=interval(lambda cost: cost.tokens_out),
        hours_least=interval(lambda cost: cost.seconds / side_by_side / 3600),
        hours_most=interval(lambda cost: cost.seconds * share / 3600),
        gpus=gpus,
    )


def count_gpus(recipe: Recipe, roles: Sequence[str]) -> int:
    """GPUs behind the servers of a run: from their serve options, else one per address; without a GPU here, none."""
    names = dict.fromkeys(recipe.role(role).name for role in roles)
    return sum(_gpus_of(recipe, name) for name in names)


def has_gpu() -> bool:
    """Whether this machine has an NVIDIA or AMD GPU that programs can use."""
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/kfd"))


def _gpus_of(recipe: Recipe, name: str) -> int:
    model = recipe.models[name]
    addresses = [each for each in model.addresses if urlsplit(each).hostname not in HERE]
    if not addresses and not has_gpu():
        return 0
    options: Mapping[str, Any] = model.serve.options if model.serve else {}
    plain = {key.replace("_", "-"): value for key, value in options.items()}
    product = 1
    for kind in ("tensor", "pipeline", "data"):
        size = plain.get(f"{kind}-parallel-size")
        product *= size if isinstance(size, int) else 1
    return product * max(len(model.addresses), 1)
