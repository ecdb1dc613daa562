"""Is a model's reply of use? Says how not, and asks again a bounded number of times.

| outcome | how it is recognised | what follows |
|---|---|---|
| ok | none of those below | it is used |
| prose | words around one JSON object of the schema, and no second one that differs | the object is used |
| truncated | the token limit ended it | the same request, another seed |
| whitespace | the token limit ended a run of white space (the loop of JSON mode) | the same |
| unclosed_reasoning | there is reasoning and no answer | the same |
| empty | neither | the same |
| malformed | a schema was asked for and no such JSON can be told in it | it is shown back with the fault |
| wrong_schema | JSON, and not of that schema | the same |
| refusal | the server's content filter ended it | the sample fails |

After the last attempt the reply is a `ReplyError` and the sample fails. Every reply's text is kept in the ledger under
its outcome, so that outcomes are counted by role and none is counted as a verdict.
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

LOOP = 40  # white-space characters at the end of a cut reply that no JSON writer needs
SHOWN_BACK = 2000  # characters of a faulty reply that the repair call repeats
PLACES = 64  # in a text around JSON that are tried as the beginning of an object
OPENING = re.compile(r'\{\s*"')
# Grammars let a weak model write raw control characters into a string; they do no harm there.
_JSON = json.JSONDecoder(strict=False)


def classify(reply: Reply, schema: dict[str, Any] | None = None) -> Outcome:
    """How a reply ended; a pure function, so the ledger records it as the call returns."""
    return _inspect(reply, schema)[0]


async def ask_text(request: Request, ask: Ask, repairs: int) -> Reply:
    """The first reply of use out of `repairs` + 1 attempts. Raises ReplyError, and what `ask` raises."""
    return (await _ask(request, ask, repairs))[0]


async def ask_json(request: Request, ask: Ask, repairs: int) -> dict[str, Any]:
    """The first reply that is JSON of the request's schema, parsed. Raises ReplyError, and what `ask` raises."""
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


_UNHEEDED = "see by `muser check RECIPE --probe` whether the server honours json_schema; if not, structured: prompt"
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
    """(outcome, the fault in words where showing it back may help, the parsed JSON)."""
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
    """As `_inspect`, of a text that should be one JSON value. Raises RecursionError."""
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
    """The JSON objects that stand in a text, outermost ones only; none where too many places might begin one.

    Each place costs at most one pass over the text, so their number is bounded: the time stays linear in the text.
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
