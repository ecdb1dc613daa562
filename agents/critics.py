"""Critics: (query, answer, ask) → critique. A prompt file makes one; so does any async function of that signature."""

import importlib

from pydantic import JsonValue

from ..core.errors import CriticError, MuserError, SettingsError
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


def imported_critic(name: str, path: str) -> Critic:
    """The critic at `module:function`, trusted like the recipe itself. What it raises becomes a CriticError."""
    module, _, attribute = path.partition(":")
    try:
        function: Critic = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise SettingsError(
            f"critic {name}: cannot import {path} ({error})",
            todo="check the spelling, and that the module can be imported from where muser runs",
        ) from error

    async def critique(query: str, answer: str, ask: Ask) -> Critique:
        try:
            value = await function(query, answer, ask)
        except MuserError:
            raise
        except Exception as error:
            raise CriticError(f"critic {name} raised {type(error).__name__}: {error}", where=path) from error
        if not isinstance(value, Critique):
            raise CriticError(f"critic {name} returned {type(value).__name__}, not a Critique", where=path)
        return value.model_copy(update={"critic": name})

    return critique
