"""The length-adjusted score, which takes from an answer's score what its length alone may have earned it."""

from ..core.recipe.training import Benchmark

ALLOWED = 2000
"""Characters of an answer whose score stays as it is."""

STEP = 500
"""Characters that cost an answer one rate."""

RATES: dict[Benchmark, float] = {"healthbench": 0.0299, "hard": 0.0392, "consensus": 0.0020, "professional": 0.0147}
"""Score lost by STEP characters, as published for each benchmark (simple-evals 108, arXiv 2604.27470)."""


def rate_of(benchmark: Benchmark | None) -> float | None:
    """The benchmark's rate; None for a file that is none of the published ones."""
    return RATES[benchmark] if benchmark else None


def adjusted(score: float, characters: int, rate: float) -> float:
    """The score of an answer of this length. Short answers gain; not clipped."""
    return score - rate * (characters - ALLOWED) / STEP
