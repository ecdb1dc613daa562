"""The judge: a conversation with its answer, and one rubric item or all of them → grades (HealthBench's grader)."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic import JsonValue

from ..core.errors import ReplyError
from ..core.types import Ask, Grade, Request, RubricItem
from ..prompts.templates import Prompt
from .replies import ask_json

GRADE_SCHEMA: dict[str, JsonValue] = {
    "type": "object",
    "properties": {"explanation": {"type": "string", "maxLength": 2000}, "criteria_met": {"type": "boolean"}},
    "required": ["explanation", "criteria_met"],
    "additionalProperties": False,
}


async def grade(
    conversation: str, *, item: int, points: float, criterion: str, prompt: Prompt, ask: Ask, repairs: int = 0
) -> Grade:
    """Grades one item. If the judge gives no usable reply, `met` is None: the item counts as not judged."""
    messages = prompt.render(conversation=conversation, points=points, criterion=criterion)
    try:
        data = await ask_json(Request(messages=messages, output_schema=GRADE_SCHEMA), ask, repairs)
    except ReplyError as error:
        return Grade(item=item, points=points, met=None, explanation=error.what)
    return Grade(item=item, points=points, met=data["criteria_met"], explanation=data["explanation"])


async def grade_all(
    conversation: str,
    *,
    items: Sequence[RubricItem],
    order: Sequence[int],
    prompt: Prompt,
    ask: Ask,
    repairs: int = 0,
) -> list[Grade]:
    """Grades a whole rubric in one call, its items shown in this order and numbered from 1.

    An item whose number the reply leaves out or has twice gets no grade, nor does any if no reply is usable.
    """
    shown = [
        {"number": number, "points": items[place].points, "criterion": items[place].criterion}
        for number, place in enumerate(order, start=1)
    ]
    request = Request(
        messages=prompt.render(conversation=conversation, items=shown), output_schema=_all_schema(len(order))
    )
    try:
        verdicts = (await ask_json(request, ask, repairs))["verdicts"]
    except ReplyError:
        return []
    counts = Counter(one["number"] for one in verdicts)
    once = [one for one in verdicts if counts[one["number"]] == 1]
    return [_grade(order[one["number"] - 1], items, one) for one in once]


def _grade(place: int, items: Sequence[RubricItem], verdict: dict[str, Any]) -> Grade:
    met, why = verdict["criteria_met"], verdict["explanation"]
    return Grade(item=place, points=items[place].points, met=met, explanation=why)


def _all_schema(count: int) -> dict[str, JsonValue]:
    verdict: dict[str, JsonValue] = {
        "type": "object",
        "properties": {
            "number": {"type": "integer", "minimum": 1, "maximum": count},
            "explanation": {"type": "string", "maxLength": 500},
            "criteria_met": {"type": "boolean"},
        },
        "required": ["number", "explanation", "criteria_met"],
        "additionalProperties": False,
    }
    # No more verdicts than items: a weak model under a grammar could otherwise list them without end.
    verdicts: dict[str, JsonValue] = {"type": "array", "items": verdict, "maxItems": count}
    return {
        "type": "object",
        "properties": {"verdicts": verdicts},
        "required": ["verdicts"],
        "additionalProperties": False,
    }
