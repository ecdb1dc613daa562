"""Recognises the role that a request to the simulated endpoint is for, and the parts of the prompt that it needs."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

ATTRIBUTE = re.compile(
    r"^\W*(?:\(?\d+\)?\W*)?"
    r"(?P<name>identity|role|region|condition|disease|intent|vagueness|completeness|language style|language|style)"
    r"\b[^:\n]*:\s*(?P<value>.+?)\s*$",
    re.IGNORECASE | re.MULTILINE,
)
LISTED = re.compile(r"^\(\d+\) [^:\n]+: \S", re.MULTILINE)
SYNONYMS = {"role": "identity", "disease": "condition", "language style": "style"}
ATTRIBUTES = {"identity", "region", "condition", "intent", "vagueness", "completeness", "style"}
SHARED = re.compile(r"<query>\s*(?P<query>.*?)\s*</query>\s*<answer>\s*(?P<answer>.*?)\s*</answer>", re.DOTALL)
MARKED = re.compile(r"<(query|answer|conversation)>")
FACET = re.compile(r"facet,?\s*\*\*(?P<name>[^*]+)\*\*")
CONVERSATION = re.compile(r"<conversation>\n(.*)\n</conversation>", re.DOTALL)
ITEM = re.compile(r"^\[\s*-?\d+(?:\.\d+)?\s*\]\s*(.+?)\s*$", re.MULTILINE)
SCHEMA = re.compile(r"<json_schema>\n(.*)\n</json_schema>\s*\Z", re.DOTALL)
NUMBERED = re.compile(r"^Number (\d+): \[-?\d+(?:\.\d+)?\] (.+?)\n</rubric_item>", re.MULTILINE | re.DOTALL)
TURN = re.compile(r"^assistant:\s*", re.MULTILINE)


@dataclass(frozen=True)
class Asked:
    """A request as a simulated model sees it."""

    role: str
    """persona, responder, critic, refiner, judge; `unknown` if the prompt or schema is none of theirs"""
    messages: tuple[tuple[str, str], ...]
    schema: dict[str, Any] | None = None
    thinking: bool = True
    query: str = ""
    answer: str = ""
    tail: str = ""
    """the prompt of a critic or the refiner after the query and the answer"""
    criterion: str = ""
    items: tuple[tuple[int, str], ...] = ()
    """number and criterion of each item, if the judge is asked for a whole rubric"""
    attributes: dict[str, str] = field(default_factory=dict)
    shared: int = 0
    """the length of the prompt's part that critics and the refiner share, in characters"""


def read_request(body: dict[str, Any]) -> Asked:
    """Recognises the role by the schema, then by the form of the prompt."""
    messages = tuple((str(message.get("role")), _text(message.get("content"))) for message in body["messages"])
    asked = messages, _schema(body) or _schema_in(messages[-1][1]), _is_thinking(body)
    # A repair quotes the faulty reply in an assistant turn, which is not part of the task.
    prompt = "\n\n".join(text for role, text in messages if role in ("system", "user"))
    wanted = set((asked[1] or {}).get("properties", ()))
    if "criteria_met" in wanted:
        return Asked("judge", *asked, answer=_last_answer(prompt), criterion=_last(ITEM.findall(prompt)))
    if "verdicts" in wanted:
        items = tuple((int(number), criterion) for number, criterion in NUMBERED.findall(prompt))
        return Asked("judge", *asked, answer=_last_answer(prompt), items=items)
    shared = SHARED.search(prompt)
    if shared and (asked[1] is None or "verdict" in wanted):
        role, tail = "critic" if asked[1] else "refiner", prompt[shared.end() :]
        return Asked(role, *asked, shared["query"], shared["answer"], tail, shared=shared.end())
    if asked[1] is not None:
        return Asked("unknown", *asked)
    given = {name.lower(): value.rstrip(".") for name, value in ATTRIBUTE.findall(prompt)}
    attributes = {SYNONYMS.get(name, name): value for name, value in given.items()}
    # A user's own table may have other attributes; muser's prompt numbers them.
    if set(attributes) >= ATTRIBUTES or len(LISTED.findall(prompt)) > 1:
        return Asked("persona", *asked, attributes=attributes)
    query = _last([text for role, text in messages if role == "user"])
    # Any text can be a query, unless it looks like a prompt: several attributes of a persona, or marked parts.
    is_form = len(attributes) > 2 or MARKED.search(prompt)
    return Asked("unknown" if is_form or not query.strip() else "responder", *asked, query=query)


def facet_of(tail: str) -> str:
    """The facet that a critic's prompt names in bold; empty if it names none."""
    named = FACET.search(tail)
    return named["name"].strip().lower() if named else ""


def _last_answer(prompt: str) -> str:
    found = CONVERSATION.search(prompt)
    return TURN.split(found[1] if found else prompt)[-1]


def _last(found: list[str]) -> str:
    return found[-1] if found else ""


def _schema(body: dict[str, Any]) -> dict[str, Any] | None:
    shape = (body.get("response_format") or {}).get("json_schema") or {}
    schema = shape.get("schema") or (body.get("structured_outputs") or {}).get("json")
    return schema if isinstance(schema, dict) else None


def _schema_in(text: str) -> dict[str, Any] | None:
    """The schema at the end of a prompt, as muser sends it to servers without response_format."""
    found = SCHEMA.search(text)
    try:
        schema = json.loads(found[1]) if found else None
    except ValueError:
        return None
    return schema if isinstance(schema, dict) else None


def _is_thinking(body: dict[str, Any]) -> bool:
    template = body.get("chat_template_kwargs")
    return not (isinstance(template, dict) and template.get("enable_thinking") is False)


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)
