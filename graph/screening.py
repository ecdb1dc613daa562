"""Screens samples in the graph: builds what a screen looks at, and stops a sample that one rejects.

A rejected draw is replaced by the runner (runner.py). Of two similar queries the sample with the lower number keeps its
own, in whatever order they are drawn: a draw is rejected if any draw of a lower sample is like it, and if a lower one
comes later, the higher sample is overtaken and drawn again. What a sample draws so depends on lower samples only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ..core.errors import Rejected, SettingsError
from ..core.hashing import digest, file_digest
from ..core.problems import Problem, raise_problems
from ..core.recipe import Recipe
from ..core.types import Critique, Persona, Refinement, Response
from ..prompts.attributes import AttributeTables
from ..screens.candidate import Candidate
from ..screens.shipped import NamedScreen, load_screens
from ..store.file.database import Store
from ..store.records.neighbours import Near, Neighbour, Sketch, add_draw
from ..store.records.rejections import overtake
from .state import AskFactory, State, bind, history_of

Stage = Literal["query", "brought", "refinement"]
STAGES: tuple[Stage, ...] = ("query", "brought", "refinement")
Screens = Mapping[Stage, Sequence[NamedScreen]]
UNSCREENED: Screens = dict.fromkeys(STAGES, ())


def load_recipe_screens(recipe: Recipe) -> Screens:
    """The recipe's screens. Raises SettingsError with every one that is unknown, or lacks a library."""
    loaded: dict[Stage, Sequence[NamedScreen]] = {}
    files = [recipe.folder / name for name in recipe.screens.against]
    against: tuple[list[NamedScreen], list[NamedScreen]] = ([], [_decontaminated(files)] if files else [])
    problems = []
    for stage in STAGES:
        try:
            loaded[stage] = (*load_screens(getattr(recipe.screens, stage)), *against[stage != "refinement"])
        except SettingsError as error:
            problems.append(Problem(f"recipe {recipe.name}", 0, f"screens.{stage}", str(error)))
    raise_problems(problems, f"recipe {recipe.name}")
    return loaded


def _decontaminated(files: Sequence[Path]) -> NamedScreen:
    """Rejects queries that copy a text of these benchmarks. Raises InputError for a bad file."""
    # NumPy and the embeddings take a while to import.
    from ..screens.decontamination import decontaminated

    copied = decontaminated(files)

    async def screen(candidate: Candidate) -> str | None:
        return copied(candidate.query)

    return NamedScreen("decontaminated", screen, digest([file_digest(file) for file in files]))


def code_of(screens: Screens) -> str:
    """A digest of the user's own screens and of the benchmarks; empty if there are none."""
    sources = {one.name: one.digest for stage in screens.values() for one in stage if one.digest}
    return digest(sources) if sources else ""


@dataclass(frozen=True)
class Screening:
    """The screens of one run. `checks`: the recipe binds the role checker."""

    store: Store
    screens: Screens
    tables: AttributeTables
    make_ask: AskFactory
    checks: bool = False

    async def screen(self, stage: Stage, state: State | Mapping[str, Any]) -> None:
        """Raises Rejected with the first screen's reason."""
        if not self.screens[stage]:
            return
        about = self._about(stage, state)
        for screen in self.screens[stage]:
            find = partial(self._find, screen.name, about["key"], about["draw"])
            candidate = Candidate(**about, find=find)
            reason = await screen.reason(candidate)
            if reason:
                text = (
                    candidate.refinement.answer if stage == "refinement" and candidate.refinement else candidate.query
                )
                raise Rejected(reason, screen=screen.name, stage=stage, text=text)

    def _about(self, stage: Stage, state: Any) -> dict[str, Any]:
        """The fields of a candidate, without `find`."""
        persona: Persona = state.get("persona") or {}
        response, refinement = state.get("response"), state.get("refinement")
        return {
            "key": state.get("sample", ""),
            "query": state["query"],
            "persona": persona,
            "texts": self.tables.describe(persona),
            "labels": self.tables.labels,
            "language": self.tables.language_of(persona),
            "history": tuple(history_of(state)),
            "brought": stage == "brought",
            "draw": state.get("draw", 1),
            "response": Response(**response) if response else None,
            "critiques": tuple(Critique(**one) for one in state.get("critiques", [])),
            "refinement": Refinement(**refinement) if refinement else None,
            "ask": bind(state, self.make_ask, "checker") if self.checks else None,
        }

    async def _find(self, screen: str, key: str, draw: int, sketch: Sketch, near: Near | None) -> list[Neighbour]:
        found = await add_draw(self.store, key, draw, sketch, near)
        # Also if a lower sample is about to reject this draw: a higher sample that came later would be rejected by it.
        for one in found:
            if not one.lower:
                reason = f"{one.similarity:.0%} like the query of {key}"
                await overtake(self.store, one.sample_id, one.draw, screen, reason)
        return found
