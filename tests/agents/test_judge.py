"""The judge of a whole rubric: what counts as a verdict."""

import asyncio
import json
from pathlib import Path

from muser.agents.judge import grade_all
from muser.core.types import Grade, Reply, Request, RubricItem
from muser.prompts.templates import load_prompt

ITEMS = [
    RubricItem(criterion=f"Says {word}.", points=points, tags=()) for word, points in (("a", 5), ("b", -3), ("c", 1))
]


def verdict(number: int, met: bool) -> dict[str, object]:
    return {"number": number, "explanation": "It does.", "criteria_met": met}


def graded(*verdicts: dict[str, object], order: tuple[int, ...] = (0, 1, 2)) -> tuple[list[Grade], str]:
    asked = []

    async def ask(request: Request) -> Reply:
        asked.append(request.messages[-1].content)
        return Reply(text=json.dumps({"verdicts": verdicts}))

    prompt = load_prompt("rubric.md", Path(), "rubric")
    grades = asyncio.run(
        grade_all("user: Hi.\n\nassistant: a", items=ITEMS, order=order, prompt=prompt, ask=ask, repairs=0)
    )
    return grades, asked[0]


def test_verdicts_belong_to_items_by_their_numbers_in_the_shuffled_order() -> None:
    grades, prompt = graded(verdict(1, True), verdict(3, False), verdict(2, True), order=(2, 0, 1))
    assert [(one.item, one.points, one.met) for one in grades] == [(2, 1, True), (1, -3, False), (0, 5, True)]
    assert "Number 1: [1] Says c." in prompt
    assert "Number 3: [-3] Says b." in prompt


def test_a_number_that_is_missing_or_doubled_is_no_verdict() -> None:
    grades, _ = graded(verdict(1, True), verdict(2, True), verdict(2, False))
    assert [one.item for one in grades] == [0]


def test_an_unusable_reply_grades_nothing() -> None:
    assert graded(verdict(4, True))[0] == []
