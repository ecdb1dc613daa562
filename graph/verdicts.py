"""What a run's critics decided: how often each passed an answer, and how much it wrote."""

from collections import defaultdict
from dataclasses import dataclass
from statistics import median_low

from ..core.repetition import words_of
from ..store.file.database import Store
from ..store.queries.tallies import judged_answers

READ = 1_000
"""Finished samples whose critiques are read: enough for a share and a median, and as fast in a run of any size."""

HINT = "it gives the refiner nothing to improve; read its rationales, then sharpen its prompt or use a larger model"

TELLING = 4
"""Verdicts from which on a critic that always passes is worth a hint."""


@dataclass(frozen=True)
class CriticTally:
    """A critic's verdicts on the first answers (those of round 1) of up to 1,000 finished samples."""

    critic: str
    """the critic's name in the recipe"""
    answers: int
    """answers that it judged"""
    passed: int
    """answers that it passed"""
    words: int
    """the median number of words of its rationales"""

    @property
    def always_passes(self) -> bool:
        """Whether its verdicts say nothing: it passed every one of at least TELLING answers."""
        return self.answers >= TELLING and self.passed == self.answers


def tally_critics(store: Store, run_id: str) -> tuple[CriticTally, ...]:
    """A line per critic, in the recipe's order; none for a run without critics."""
    passed: dict[str, list[bool]] = defaultdict(list)
    words: dict[str, list[int]] = defaultdict(list)
    for critic, verdict, rationale in judged_answers(store, run_id, READ):
        passed[critic].append(verdict == "pass")
        words[critic].append(len(words_of(rationale)))
    return tuple(
        CriticTally(critic, answers=len(said), passed=sum(said), words=median_low(words[critic]))
        for critic, said in passed.items()
    )
