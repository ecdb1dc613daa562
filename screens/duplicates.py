"""Screens for queries that a lower-numbered sample of the run has drawn already, in the same or in similar words."""

from collections.abc import Sequence

from ..store.records.neighbours import Near, Neighbour, Sketch
from .candidate import Candidate
from .minhash import NEAR, exact_sketch, near_sketch


async def duplicate(candidate: Candidate) -> str | None:
    """The same words as another sample's query."""
    return await first_of(candidate, exact_sketch(candidate.query), None)


async def near_duplicate(candidate: Candidate) -> str | None:
    """Most pairs of neighbouring words are another sample's too."""
    return await first_of(candidate, near_sketch(candidate.query), NEAR)


async def first_of(candidate: Candidate, sketch: Sketch, near: Near | None) -> str | None:
    """The reason if a lower sample drew a near query before."""
    return reason_of(await candidate.find(sketch, near))


def reason_of(found: Sequence[Neighbour]) -> str | None:
    """Of the neighbours the most similar one with a lower number; one with a higher number is overtaken instead."""
    lower = next((one for one in found if one.lower), None)
    if lower is None:
        return None
    again = f", draw {lower.draw}" if lower.draw > 1 else ""
    return f"{lower.similarity:.0%} like the query of {lower.sample_id}{again}"
