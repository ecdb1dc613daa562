"""Decides whether a model's reply is usable, and retries unusable ones a bounded number of times.

| outcome | how it is recognised | what happens |
|---|---|---|
| ok | none of those below | the reply is used |
| prose | text around exactly one JSON object that fits the schema (repeats of it allowed) | the object is used |
| truncated | cut off at the token limit | retried with another seed |
| whitespace | a run of white space up to the token limit (the loop of JSON mode) | retried with another seed |
| unclosed_reasoning | reasoning without an answer | retried with another seed |
| empty | neither reasoning nor an answer | retried with another seed |
| malformed | a schema was requested, and no JSON that fits it was found | retried with the reply and the fault shown |
| wrong_schema | JSON that does not fit the schema | retried with the reply and the fault shown |
| refusal | stopped by the server's content filter | the sample fails |

If the last attempt is unusable too, a `ReplyError` fails the sample. The ledger keeps every reply's text with its
outcome, so that outcomes are counted by role and an unusable reply never counts as a verdict.
"""

import json
import re
from functools import cache
from typing import Any

import jsonschema
from jsonschema.protocols import Validator

from ..core.errors import ReplyError
from ..core.surrogates import replace_surrogates
from ..core.types import Ask, Message, Outcome, Reply, Request

LOOP = 40  # white-space characters at the end of a truncated reply: more than any JSON formatting needs
SHOWN_BACK = 2000  # characters of an unusable reply that the repair call quotes
PLACES = 64  # positions in a text that are tried as the start of a JSON object
OPENING = re.compile(r'\{\s*"')
# Grammars let a weak model write raw control characters into a string; strict=False accepts them.
_JSON = json.JSONDecoder(strict=False)


def classify(reply: Reply, schema: dict[str, Any] | None = None) -> Outcome:
    """A reply's outcome. A pure function, so that the ledger can record it as soon as the call returns."""
    return _inspect(reply, schema)[0]


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
        outcome, fault, data = _inspect(reply, request.output_schema)
        if outcome in ("ok", "prose"):
            return reply, data
        if outcome == "refusal" or wanted.attempt > repairs:
            raise _useless(reply, outcome, wanted.attempt)
        shown = _show_back(reply, fault) if fault else ()
        wanted = wanted.model_copy(update={"attempt": wanted.attempt + 1, "messages": (*request.messages, *shown)})


def _useless(reply: Reply, outcome: Outcome, attempts: int) -> ReplyError:
    return ReplyError(
        f"the model's reply was {outcome.replace('_', ' ')} after {attempts} attempt{'s' * (attempts > 1)}",
        outcome=outcome,
        where=f"model {reply.model}" if reply.model else "",
        todo=_ADVICE[outcome],
    )


_UNHEEDED = "run `muser check RECIPE --probe`: if the server ignores json_schema, set structured: prompt"
_ADVICE: dict[Outcome, str] = {
    "truncated": "raise the model's max_tokens",
    "whitespace": "serve with structured outputs' disable_any_whitespace, or raise repairs",
    "unclosed_reasoning": "set the role's reasoning to off, or raise max_tokens",
    "empty": "look at the calls with `muser show SAMPLE --json`; check the server's chat template",
    "malformed": f"{_UNHEEDED}, or raise repairs",
    "wrong_schema": f"{_UNHEEDED}, or raise repairs",
    "refusal": "use another model for this role",
}


def _inspect(reply: Reply, schema: dict[str, Any] | None) -> tuple[Outcome, str, Any]:
    """(outcome, the fault in words if showing it to the model may help, the parsed JSON)."""
    text = reply.text.strip()
    if reply.finish_reason == "content_filter":
        return "refusal", "", None
    if reply.finish_reason == "length":
        looped = len(reply.text) - len(reply.text.rstrip()) >= LOOP
        return "whitespace" if looped else "truncated" if text else "unclosed_reasoning", "", None
    if not text:
        return "unclosed_reasoning" if reply.reasoning.strip() else "empty", "", None
    if schema is None:
        return "ok", "", None
    try:
        return _read(text, _validator(json.dumps(schema)))
    except RecursionError:
        return "malformed", "its JSON is nested too deeply", None


def _read(text: str, validator: Validator) -> tuple[Outcome, str, Any]:
    """Like `_inspect`, for a text that should be one JSON value. Raises RecursionError."""
    try:
        data = _JSON.decode(text)
    except ValueError as error:
        fitting = [found for found in _objects(text) if validator.is_valid(found)]
        if fitting and all(found == fitting[0] for found in fitting):
            return "prose", "", replace_surrogates(fitting[0])
        return "malformed", f"it is not JSON ({error})", None
    problem = jsonschema.exceptions.best_match(validator.iter_errors(data))
    if problem is not None:
        return "wrong_schema", f"at {problem.json_path}: {problem.message[:200]}", None
    return "ok", "", replace_surrogates(data)


def _objects(text: str) -> list[Any]:
    """The outermost JSON objects in a text; none if too many positions could start one.

    Each position costs at most one pass over the text, so a bound on their number keeps the time linear.
    """
    found: list[Any] = []
    place = 0
    for _ in range(PLACES):
        opening = OPENING.search(text, place)
        if opening is None:
            return found
        try:
            value, place = _JSON.raw_decode(text, opening.start())
        except (ValueError, RecursionError):
            place = opening.end() - 1
        else:
            found.append(value)
    return []


@cache
def _validator(schema: str) -> Validator:
    return jsonschema.Draft202012Validator(json.loads(schema))


def _show_back(reply: Reply, fault: str) -> tuple[Message, Message]:
    ask_again = f"That reply cannot be used: {fault}. Reply with one JSON object of the required form, nothing else."
    return Message(role="assistant", content=reply.text[:SHOWN_BACK]), Message(role="user", content=ask_again)
