"""A reply's outcome, by its form and its content; the table in replies.py says how each is recognised."""

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import jsonschema
from jsonschema.protocols import Validator

from ..core.breakage import OPENING
from ..core.repetition import is_loop
from ..core.surrogates import replace_surrogates
from ..core.types import Outcome, Reply, Request
from .echoes import is_echo, is_quotation, opens_with_instruction, weigh_letters

BLANKS = 40  # white-space characters at the end of a truncated reply: more than any JSON formatting needs
PLACES = 64  # positions in a text that are tried as the start of a JSON object
# Grammars let a weak model write raw control characters into a string; strict=False accepts them.
_JSON = json.JSONDecoder(strict=False)

# A text that is nothing but one slot to fill in: <rationale>, [your answer here], {plan}.
_SLOT = re.compile(r"<[^<>]{1,200}>|\[[^\[\]]{1,200}\]|\{[^{}]{1,200}\}")
_ELLIPSIS = re.compile(r"…|\.\.\.")
_STAND_INS = frozenset({"string", "text", "todo", "tbd", "n/a", "lorem ipsum"})


@dataclass(frozen=True)
class Inspected:
    """A reply's outcome; the fault in words, if showing it to the model may help; the parsed JSON."""

    outcome: Outcome
    fault: str = ""
    data: Any = None


def classify(reply: Reply, request: Request) -> Outcome:
    """A reply's outcome. A pure function, so that the ledger can record it as soon as the call returns."""
    return inspect(reply, request).outcome


def inspect(reply: Reply, request: Request) -> Inspected:
    """The outcome of the first check that a reply fails; `ok` or `prose` if it fails none."""
    text = reply.text.strip()
    if reply.finish_reason == "content_filter":
        return Inspected("refusal")
    if reply.finish_reason == "length":
        return Inspected(_how_cut(reply))
    if not text:
        return Inspected("unclosed_reasoning" if reply.reasoning.strip() else "empty")
    if is_loop(text, cut=False):
        return Inspected("loop")
    if request.output_schema is None:
        return Inspected(_empty_talk(text, request) or "ok")
    try:
        read = _read(text, _validator(json.dumps(request.output_schema)))
    except RecursionError:
        return Inspected("malformed", "its JSON is nested too deeply")
    if read.outcome not in ("ok", "prose"):
        return read
    failed = _empty_talk(_prose(read.data, request.output_schema), request)
    return Inspected(failed) if failed else read


def _how_cut(reply: Reply) -> Outcome:
    """What a reply did until it was cut off at the token limit."""
    if len(reply.text) - len(reply.text.rstrip()) >= BLANKS:
        return "whitespace"
    if is_loop(reply.text.strip() or reply.reasoning, cut=True):
        return "loop"
    return "truncated" if reply.text.strip() else "unclosed_reasoning"


def _empty_talk(prose: str, request: Request) -> Outcome | None:
    """What is wrong with a text that has the right form; None if nothing is."""
    text = prose.strip()
    letters = weigh_letters(text)
    elided = _ELLIPSIS.search(text) and letters < 2 * request.shortest
    # What a text says besides its slots: nothing in "<rationale>", too little in "We should [insert rationale]".
    said = weigh_letters(_SLOT.sub("", text))
    slotted = said < letters and said < max(request.shortest, 1)
    if elided or (text and not letters) or slotted or text.casefold() in _stand_ins(request):
        return "placeholder"
    if letters < request.shortest:
        return "too_short"
    told = request.instructions
    # Anyone may write a few words that are in a prompt too; as a whole rationale they are its beginning, copied.
    quoted = bool(request.shortest) and is_quotation(text, told)
    return "echo" if quoted or is_echo(text, told) or opens_with_instruction(text, told) else None


def _stand_ins(request: Request) -> frozenset[str]:
    """Words that a reply has in place of a text, such as a schema's own name for it."""
    properties: Any = (request.output_schema or {}).get("properties", {})
    return _STAND_INS | frozenset(properties)


def _prose(data: Any, schema: Any) -> str:
    """The strings of a JSON object that the schema leaves to the model's own words."""
    properties = schema.get("properties", {})
    free = [name for name, shape in properties.items() if shape.get("type") == "string" and "enum" not in shape]
    return "\n".join(data[name] for name in free if name in data) if isinstance(data, dict) else ""


def _read(text: str, validator: Validator) -> Inspected:
    """Inspects a text that should be one JSON value. Raises RecursionError."""
    try:
        data = _JSON.decode(text)
    except ValueError as error:
        fitting = [found for found in _objects(text) if validator.is_valid(found)]
        if fitting and all(found == fitting[0] for found in fitting):
            return Inspected("prose", data=replace_surrogates(fitting[0]))
        return Inspected("malformed", f"it is not JSON ({error})")
    problem = jsonschema.exceptions.best_match(validator.iter_errors(data))
    if problem is not None:
        return Inspected("wrong_schema", f"at {problem.json_path}: {problem.message[:200]}")
    return Inspected("ok", data=replace_surrogates(data))


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
