"""The judge: a conversation, its answer and one rubric item → a grade (HealthBench's grader)."""

from pydantic import JsonValue

from ..core.errors import ReplyError
from ..core.types import Ask, Grade, Request
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
