"""Critics: (query, answer, ask) → critique. A prompt file makes one; so does any async function of that signature."""

import functools
import importlib
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from pydantic import JsonValue

from ..core.errors import CriticError, MuserError, SettingsError
from ..core.hashing import digest
from ..core.problems import suggestion
from ..core.types import Ask, Critic, Critique, Request
from ..prompts.templates import PromptSet
from .replies import ask_json

# The rationale comes first, so that the verdict follows from it and not the reverse. Its length is bounded because
# a model under a grammar may never close the string, and would write until the token limit.
CRITIQUE_SCHEMA: dict[str, JsonValue] = {
    "type": "object",
    "properties": {
        "rationale": {"type": "string", "maxLength": 2000},
        "verdict": {"type": "string", "enum": ["pass", "revise"]},
    },
    "required": ["rationale", "verdict"],
    "additionalProperties": False,
}

# Letters of a rationale that says something: "We should" has eight, and "Call 112 now" ten.
SHORTEST_RATIONALE = 9


def prompted_critic(name: str, prompts: PromptSet, repairs: int = 0) -> Critic:
    """The critic whose prompt file the recipe names."""

    async def critique(query: str, answer: str, ask: Ask) -> Critique:
        messages = prompts.critic_messages(name, query=query, answer=answer)
        request = Request(
            messages=messages,
            output_schema=CRITIQUE_SCHEMA,
            instructions=prompts.instructions_of(prompts.critics[name]),
            shortest=SHORTEST_RATIONALE,
        )
        data = await ask_json(request, ask, repairs)
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
        """Raises CriticError if the function raises anything but a MuserError, or returns no critique."""
        try:
            value = await self.function(query, answer, ask)
        except MuserError:
            raise
        except Exception as error:
            what = f"critic {self.name} raised {type(error).__name__}: {error}"
            raise CriticError(
                what, where=self.path, todo="fix the critic's code; `muser retry` repeats the sample"
            ) from error
        if not isinstance(value, Critique):
            what = f"critic {self.name} returned {type(value).__name__}, not a Critique"
            raise CriticError(what, where=self.path, todo="return a muser.core.types.Critique")
        return value.model_copy(update={"critic": self.name})


def imported_critic(name: str, path: str) -> ImportedCritic:
    """Raises SettingsError if the path names no usable critic, or code that no digest can be made of."""
    return ImportedCritic(name, path, *import_function(path, "a critic", "query", "answer", "ask"))


def import_function(path: str, thing: str, *takes: str) -> tuple[Any, str]:
    """The async function at `module:name` that takes these arguments, and a digest that changes with its source.

    Raises SettingsError if the path names none, or code that no digest can be made of.
    """
    place, _, attribute = path.partition(":")
    try:
        module = importlib.import_module(place)
    # Importing runs the module's own code: any exception from it is a problem of the recipe.
    except (Exception, SystemExit) as error:
        kind = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
        raise SettingsError(f"cannot import {path} ({kind}{error})") from error
    function = getattr(module, attribute, None)
    if function is None:
        known = [key for key, value in vars(module).items() if inspect.iscoroutinefunction(value)]
        raise SettingsError(f"{path}: {place} has no {attribute}{suggestion(attribute, known)}")
    for fault in _faults(function, len(takes)):
        raise SettingsError(f"{path} {fault}; {thing} is async def {attribute}({', '.join(takes)})")
    return function, _code_digest(path, module, function)


def _faults(function: object, arguments: int) -> Iterator[str]:
    """Reasons why an object cannot be called with this number of arguments and awaited."""
    if not callable(function):
        yield f"is of type {type(function).__name__} and cannot be called"
        return
    if not (inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)):
        yield "is not async"
    try:
        signature = inspect.signature(function)
    except ValueError:
        # Functions of extension modules may have no signature to inspect.
        return
    try:
        signature.bind(*[None] * arguments)
    except TypeError:
        yield f"takes {signature}"


def _code_digest(path: str, module: ModuleType, function: Critic) -> str:
    """Digest of the named module and, if the function is defined in another one, of that module too.

    It covers these files but not what they import. A module without source must define a `version`.
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
            f"{path}: the source cannot be read, so changes to it would go unnoticed; give the function or its"
            " module a version attribute"
        )
    return digest({path: str(version)})


_SOURCES: WeakKeyDictionary[ModuleType, str | None] = WeakKeyDictionary()


def _source(module: ModuleType) -> str | None:
    """A module's source when a critic was first imported from it; later edits do not affect this process."""
    if module not in _SOURCES:
        try:
            _SOURCES[module] = inspect.getsource(module)
        except (OSError, TypeError):
            _SOURCES[module] = None
    return _SOURCES[module]
