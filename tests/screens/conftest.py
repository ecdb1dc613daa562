"""A candidate whose run has no other sample."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from muser.screens.candidate import Candidate
from muser.store.records.neighbours import Near, Neighbour, Sketch


async def alone(_sketch: Sketch, _near: Near | None) -> Sequence[Neighbour]:
    return []


@pytest.fixture
def candidate() -> Callable[..., Candidate]:
    def make(query: str = "What helps against a cold?", **more: Any) -> Candidate:
        given: dict[str, Any] = {"key": "run/s000001", "query": query, "find": alone} | more
        return Candidate(**given)

    return make
