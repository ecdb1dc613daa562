"""The screens that ship with muser, by the names that a recipe lists, and those named by an import path."""

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..agents.critics import import_function
from ..core.errors import MuserError, ScreenError, SettingsError
from ..core.problems import suggestion
from .candidate import Candidate, Screen

MODULES = {
    "length": "texts",
    "meta_talk": "texts",
    "labels": "texts",
    "language": "language",
    "duplicate": "duplicates",
    "near_duplicate": "duplicates",
    "semantic_duplicate": "meaning",
    "personal_data": "personal_data",
    "adherence": "adherence",
    "empty": "refinements",
    "unchanged": "refinements",
    "runaway": "refinements",
    "copied_rationale": "refinements",
    "lost_safety": "refinements",
}
"""Screen → its module in this folder, which is imported only if a recipe lists the screen."""


@dataclass(frozen=True)
class NamedScreen:
    """A screen by its name in the recipe. `digest` changes with the source of one that is imported by path."""

    name: str
    function: Callable[[Candidate], Any]
    digest: str = ""

    async def reason(self, candidate: Candidate) -> str | None:
        """Why the candidate is rejected; None if it is not. ScreenError if a function of the user's fails."""
        try:
            found = await self.function(candidate)
        except MuserError:
            raise
        except Exception as error:
            what = f"screen {self.name} raised {type(error).__name__}: {error}"
            raise ScreenError(what, where=candidate.key, todo="fix it; `muser retry` repeats the sample") from error
        if found is not None and not isinstance(found, str):
            what = f"screen {self.name} returned {type(found).__name__}, neither text nor None"
            raise ScreenError(what, where=candidate.key, todo="return the reason of a rejection, or None")
        return found or None


def load_screens(names: Iterable[str]) -> tuple[NamedScreen, ...]:
    """The screens of these names. Raises SettingsError for the first that is unknown or lacks what it needs."""
    return tuple(_load(name) for name in names)


def _load(name: str) -> NamedScreen:
    if ":" in name:
        return NamedScreen(name, *import_function(name, "a screen", "candidate"))
    if name not in MODULES:
        raise SettingsError(f"there is no screen {name}{suggestion(name, MODULES)}", todo="or name one as module:name")
    function: Screen = getattr(importlib.import_module(f".{MODULES[name]}", __package__), name)
    return NamedScreen(name, function)
