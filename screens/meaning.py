"""The screen for queries that ask what a lower-numbered sample of the run asks, in other words."""

from .candidate import Candidate
from .duplicates import first_of
from .embeddings import SAME_MEANING, meaning_sketch


async def semantic_duplicate(candidate: Candidate) -> str | None:
    """Means what another sample's query means, by the angle between their embeddings."""
    return await first_of(candidate, meaning_sketch(candidate.query), SAME_MEANING)
