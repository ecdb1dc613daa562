"""What a screen looks at: one sample as it stands, and ways to compare it with its run and to call a model."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..core.types import Ask, Critique, Message, Persona, Refinement, Response
from ..store.records.neighbours import Near, Neighbour, Sketch

Find = Callable[[Sketch, Near | None], Awaitable[Sequence[Neighbour]]]
"""Adds the sample's draw to the run's index and returns the draws of other samples that are near it."""


@dataclass(frozen=True)
class Candidate:
    """A sample that a screen accepts or rejects.

    `texts` and `labels` are what the persona prompt said of each attribute, `language` the name of the persona's
    language. A `brought` query comes from the user's file. `response`, `critiques` and `refinement` are there once the
    refiner has written. `ask` calls the role `checker`, if the recipe binds it.
    """

    key: str
    query: str
    find: Find
    persona: Persona = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    language: str = ""
    history: tuple[Message, ...] = ()
    brought: bool = False
    draw: int = 1
    response: Response | None = None
    critiques: tuple[Critique, ...] = ()
    refinement: Refinement | None = None
    ask: Ask | None = None


Screen = Callable[[Candidate], Awaitable[str | None]]
"""A screen: candidate → why it is rejected, or None. A recipe can name any async function with this signature."""
