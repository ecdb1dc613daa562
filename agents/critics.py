"""Critics: (query, answer, ask) → critique. A prompt file makes one; so does any async function of that signature."""

import functools
import importlib
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from weakref import WeakKeyDictionary

from pydantic import JsonValue

from ..core.errors import CriticError, MuserError, SettingsError
from ..core.hashing import digest
from ..core.problems import suggestion
from ..core.types import Ask, Critic, Critique, Request
from ..prompts.templates import PromptSet
from .replies import ask_json

# The rationale comes first, so that the verdict follows from it and not the reverse; its length is bounded
# because a grammar-constrained model that never ends its string would otherwise run into the token limit.
CRITIQUE_SCHEMA: dict[str, JsonValue] = {
    "type": "object",
    "properties": {
        "rationale": {"type": "string", "maxLength": 2000},
        "verdict": {"type": "string", "enum": ["pass", "revise"]},
    },
    "required": ["rationale", "verdict"],
    "additionalProperties": False,
}


def prompted_critic(name: str, prompts: PromptSet, repairs: int = 0) -> Critic:
    """The critic whose prompt file the recipe names."""

    async def critique(query: str, answer: str, ask: Ask) -> Critique:
        messages = prompts.critic_messages(name, query=query, answer=answer)
        data = await ask_json(Request(messages=messages, output_schema=CRITIQUE_SCHEMA), ask, repairs)
        return Critique(critic=name, **data)

    return critique


@dataclass(frozen=True)
class ImportedCritic:
    """The critic at `path` (`module:name`), trusted like the recipe itself. `digest` changes with its source."""

    name: str
    path: str
    function: Critic
    digest: str

    async def __call__(self, query: str, answer: str, ask: Ask) -> Critique:
        """Raises CriticError for whatever the function raises, and where it returns no critique."""
        try:
            value = await self.function(query, answer, ask)
        except MuserError:
            raise
        except Exception as error:
            what = f"critic {self.name} raised {type(error).__name__}: {error}"
            raise CriticError(what, where=self.path) from error
        if not isinstance(value, Critique):
            what = f"critic {self.name} returned {type(value).__name__}, not a Critique"
            raise CriticError(what, where=self.path)
        return value.model_copy(update={"critic": self.name})


def imported_critic(name: str, path: str) -> ImportedCritic:
    """Raises SettingsError where the path leads to nothing that can be a critic, or to code without a digest."""
    place, _, attribute = path.partition(":")
    try:
        module = importlib.import_module(place)
    # A module's own code runs here: whatever it raises is told as the recipe's problem.
    except (Exception, SystemExit) as error:
        kind = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
        raise SettingsError(f"cannot import {path} ({kind}{error})") from error
    function = getattr(module, attribute, None)
    if function is None:
        known = [key for key, value in vars(module).items() if inspect.iscoroutinefunction(value)]
        raise SettingsError(f"{path}: {place} has no {attribute}{suggestion(attribute, known)}")
    for fault in _faults(function):
        raise SettingsError(f"{path} {fault}; a critic is async def {attribute}(query, answer, ask)")
    return ImportedCritic(name, path, function, _code_digest(path, module, function))


def _faults(function: object) -> Iterator[str]:
    """What keeps an object from being called as a critic."""
    if not callable(function):
        yield f"is of type {type(function).__name__} and cannot be called"
        return
    if not (inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)):
        yield "is not async"
    try:
        signature = inspect.signature(function)
    except ValueError:
        # Extension modules need not tell.
        return
    try:
        signature.bind("", "", None)
    except TypeError:
        yield f"takes {signature}"


def _code_digest(path: str, module: ModuleType, function: Critic) -> str:
    """Digest of the module that is named and of the one that defines the function, where that is another.

    Covers these files and not what they import. A module without source has to give a `version`.
    """
    inner: object = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    home = sys.modules.get(getattr(inspect.unwrap(inner), "__module__", None) or "", module)  # type: ignore[arg-type]
    told = {each.__name__: _source(each) for each in (module, home)}
    if None not in told.values():
        return digest(told)
    version = getattr(function, "version", getattr(module, "version", None))
    if version is None:
        raise SettingsError(
            f"{path}: the source cannot be read, so that changes of it would go unnoticed; give the function or its"
            " module a version"
        )
    return digest({path: str(version)})


_SOURCES: WeakKeyDictionary[ModuleType, str | None] = WeakKeyDictionary()


def _source(module: ModuleType) -> str | None:
    """A module's source as it was when a critic was first imported from it: an edit has no effect on this process."""
    if module not in _SOURCES:
        try:
            _SOURCES[module] = inspect.getsource(module)
        except (OSError, TypeError):
            _SOURCES[module] = None
    return _SOURCES[module]
