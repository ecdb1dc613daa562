"""The self-test of decontamination: plants copies of a benchmark's prompts and counts which of them each net finds."""

import random
from collections.abc import Callable, Sequence
from statistics import fmean

from ..core.errors import InputError
from .decontamination import Benchmark
from .matches import NETS, Copy, Net, NetScore
from .rewording import reword, translate, truncate
from .words import words

MOST = 1000
"""Prompts that are planted in each way."""

OnTested = Callable[[int, int], None]
"""(texts compared so far, texts in all)."""


def score_nets(own: Sequence[str], benchmark: Benchmark, on_tested: OnTested | None = None) -> list[NetScore]:
    """How well each net finds planted copies and leaves the run's own queries alone.

    As many prompts are planted in each way as there are own queries, at most 1,000.
    """
    rng = random.Random(0)
    prompts = [number for number, reference in enumerate(benchmark.references) if reference.kind == "prompt"]
    size = min(len(prompts), len(own), MOST)
    if not size:
        raise InputError("nothing to test with: there are no queries, or the benchmark has no prompts")
    planted = rng.sample(prompts, size)
    copies: dict[Copy, Callable[[str], str]] = {
        "verbatim": str,
        "truncated": truncate,
        "reworded": lambda text: reword(text, rng),
        "translated": translate,
    }
    steps = iter(range(1, size * (len(copies) + 1) + 1))

    def find(text: str) -> dict[int, dict[Net, float]]:
        found = benchmark.find(text)
        if on_tested:
            on_tested(next(steps), size * (len(copies) + 1))
        return found

    mistakes = [{net for nets in find(text).values() for net in nets} for text in rng.sample(list(own), size)]
    scores: list[NetScore] = []
    for kind, copy in copies.items():
        originals = [benchmark.references[number].text for number in planted]
        texts = [copy(text) for text in originals]
        hits = [set(find(text).get(number, {})) for number, text in zip(planted, texts, strict=True)]
        changed = fmean(map(_changed, originals, texts))
        scores += (_score(net, kind, changed, hits, mistakes) for net in (*NETS, "any"))
    return scores


def _changed(before: str, after: str) -> float:
    """The share of the words of a text that its copy lacks."""
    original = set(words(before))
    return len(original - set(words(after))) / len(original)


def _score(net: str, copies: Copy, changed: float, hits: Sequence[set[Net]], mistakes: Sequence[set[Net]]) -> NetScore:
    found, flagged = (sum(bool(nets) if net == "any" else net in nets for nets in texts) for texts in (hits, mistakes))
    return NetScore.model_validate(
        {
            "net": net,
            "copies": copies,
            "changed": round(changed, 3),
            "planted": len(hits),
            "found": found,
            "own": len(mistakes),
            "flagged": flagged,
            "recall": round(found / len(hits), 4),
            "precision": round(found / (found + flagged), 4) if found + flagged else None,
        }
    )
