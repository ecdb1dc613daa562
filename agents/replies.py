"""Decides whether a model's reply is usable, and retries unusable ones a bounded number of times.

| outcome | how it is recognised | what its repair changes |
|---|---|---|
| ok | none of those below | – (the reply is used) |
| prose | text around exactly one JSON object that fits the schema (repeats of it allowed) | – (the object is used) |
| truncated | cut off at the token limit | asks for a much shorter reply |
| loop | most of it, or the end of a reply that was cut off, repeats passages of its own | a penalty on repetition |
| whitespace | a run of white space up to the token limit (the loop of JSON mode) | the temperature only |
| unclosed_reasoning | reasoning without an answer | asks for brief reasoning |
| empty | neither reasoning nor an answer | the temperature only |
| malformed | a schema was requested, and no JSON that fits it was found | shows the reply and its fault |
| wrong_schema | JSON that does not fit the schema | shows the reply and its fault |
| echo | mostly passages of the prompt's instructions | asks for the model's own words |
| placeholder | a stand-in for the text: an ellipsis, <slot>, the name of the JSON property | asks for the text itself |
| too_short | a rationale with fewer letters than any plan needs | asks for a complete plan |
| refusal | stopped by the server's content filter | – (the sample fails) |

Every repair has a new seed and a temperature of at least `REPEAT_TEMPERATURE`: at 0 a model that gets the same messages
writes the same reply. If the last attempt is unusable too, a `ReplyError` fails the sample. The ledger keeps every
reply's text with its outcome, so that outcomes are counted by role and an unusable reply never counts as a verdict.
"""

from typing import Any

from ..core.errors import ReplyError
from ..core.types import Ask, Message, Outcome, Reply, Request
from .outcomes import Inspected, inspect

REPEAT_TEMPERATURE = 0.5
"""The least temperature of a request that is repeated because its reply was unusable."""

LOOP_PENALTY = 0.3
"""The frequency penalty (OpenAI's, from -2 to 2) of a request whose reply was a loop."""

SHOWN_BACK = 2000  # characters of an unusable reply that the repair call quotes

# Added to the end of the last message: two user turns in a row are an error in some chat templates.
_NOTES: dict[Outcome, str] = {
    "truncated": "Your last reply was cut off because it was too long. This time be much shorter, and finish.",
    "loop": "Your last reply said the same over and over. This time say each thing once, and finish.",
    "unclosed_reasoning": "Your last reply ended before its answer. This time think briefly, then answer.",
    "echo": "Your last reply repeated these instructions. This time follow them, in words of your own.",
    "placeholder": "Your last reply left out the text itself. This time write it in full.",
    "too_short": "Your last reply had no content. This time write a complete sentence on this very case.",
}


async def ask_text(request: Request, ask: Ask, repairs: int) -> Reply:
    """The first usable reply of up to `repairs` + 1 attempts. Raises ReplyError, and what `ask` raises."""
    return (await _ask(request, ask, repairs))[0]


async def ask_json(request: Request, ask: Ask, repairs: int) -> dict[str, Any]:
    """The first reply whose JSON fits the request's schema, parsed. Raises ReplyError, and what `ask` raises."""
    data: dict[str, Any] = (await _ask(request, ask, repairs))[1]
    return data


async def _ask(request: Request, ask: Ask, repairs: int) -> tuple[Reply, Any]:
    wanted = request
    while True:
        reply = await ask(wanted)
        found = inspect(reply, request)
        if found.outcome in ("ok", "prose"):
            return reply, found.data
        if found.outcome == "refusal" or wanted.attempt > repairs:
            raise _unusable(reply, found.outcome, wanted.attempt)
        wanted = repaired(request, wanted.attempt + 1, reply, found)


def repaired(request: Request, attempt: int, reply: Reply, found: Inspected) -> Request:
    """The request of this attempt, changed by what was wrong with the reply before it."""
    changes: dict[str, Any] = {"attempt": attempt, "least_temperature": REPEAT_TEMPERATURE}
    if found.fault:
        changes["messages"] = (*request.messages, *_show_back(reply, found.fault))
    elif note := _NOTES.get(found.outcome):
        *before, last = request.messages
        noted = last.model_copy(update={"content": f"{last.content}\n\n{note}"})
        changes["messages"] = (*before, noted)
    if found.outcome == "loop":
        changes["frequency_penalty"] = LOOP_PENALTY
    return request.model_copy(update=changes)


def _unusable(reply: Reply, outcome: Outcome, attempts: int) -> ReplyError:
    return ReplyError(
        f"the model's reply was {outcome.replace('_', ' ')} after {attempts} attempt{'s' * (attempts > 1)}",
        outcome=outcome,
        where=f"model {reply.model}" if reply.model else "",
        todo=_ADVICE[outcome],
    )


_UNHEEDED = "run `muser check RECIPE --probe`: if the server ignores json_schema, set structured: prompt"
_EMPTY_TALK = "read the replies with `muser show SAMPLE --why`; use a larger model for this role, or raise repairs"
_ADVICE: dict[Outcome, str] = {
    "truncated": "raise the model's max_tokens",
    "loop": (
        "use a larger model for this role, or set extra_body: {frequency_penalty: 0.5} on it; a larger max_tokens only"
        " lengthens the loop, a smaller one makes it cheaper"
    ),
    "whitespace": "serve with structured outputs' disable_any_whitespace, or raise repairs",
    "unclosed_reasoning": "set the role's reasoning to off, or raise max_tokens",
    "empty": "look at the calls with `muser show SAMPLE --json`; check the server's chat template",
    "malformed": f"{_UNHEEDED}, or raise repairs",
    "wrong_schema": f"{_UNHEEDED}, or raise repairs",
    "echo": _EMPTY_TALK,
    "placeholder": _EMPTY_TALK,
    "too_short": _EMPTY_TALK,
    "refusal": "use another model for this role",
}


def _show_back(reply: Reply, fault: str) -> tuple[Message, Message]:
    ask_again = f"That reply cannot be used: {fault}. Reply with one JSON object of the required form, nothing else."
    return Message(role="assistant", content=reply.text[:SHOWN_BACK]), Message(role="user", content=ask_again)
