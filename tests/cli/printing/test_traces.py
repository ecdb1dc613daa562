"""One sample in 80 columns, from every state and with hostile model output."""

import io
import re
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from muser.cli.printing.traces import print_reason, print_trace
from muser.core.breakage import Broken
from muser.core.types import Critique, Grade, Message, Persona, Refinement, Reply, Response, RubricItem, Usage
from muser.store.queries.reasons import Evidence, Reason
from muser.store.records.ledger import Call
from muser.store.records.samples import Trace

PERSONA = Persona(
    identity="a carer",
    region="rural Kenya",
    condition="burn",
    intent="what to do",
    vagueness="vague",
    completeness="omits the age",
    style="short and worried",
)
ANSWER = "Cool the burn under water for twenty minutes. Then rest."
DONE = Trace(
    id="demo/s000001",
    run_id="demo",
    key="s000001",
    seed=7,
    status="done",
    seconds=2.31,
    persona=PERSONA,
    query="My child burnt her hand",
    response=Response(reasoning="We think of burns first, at some length. " * 5, answer=ANSWER),
    critiques=(
        Critique(critic="decision", verdict="pass", rationale="We should ask nothing more."),
        Critique(critic="safety", verdict="revise", rationale="We should ask how deep it is. " * 5),
    ),
    refinement=Refinement(reasoning="We should ask.", answer=ANSWER.replace("Then rest.", "How old is she?")),
    rounds=1,
)
CALL = Call(
    sample_id="demo/s000001",
    role="critics.decision-making",
    request_hash="00",
    model="a-model-of-a-long-name",
    messages=(Message(role="user", content="Review it."),),
    parameters={"temperature": 0.7},
    reply=Reply(
        text='{"verdict": ', finish_reason="length", seconds=12.345, usage=Usage(tokens_in=12345, tokens_out=2048)
    ),
    outcome="unclosed_reasoning",
    attempt=2,
    reused_from=3,
)


def printed(trace: Trace, *calls: Call, color: bool = False, **options: Any) -> str:
    file = io.StringIO()
    console = Console(file=file, width=80, markup=False, highlight=False, emoji=False, force_terminal=color)
    print_trace(console, trace, calls, **options)
    return file.getvalue()


def test_a_finished_sample_shows_every_part_in_order() -> None:
    text = printed(DONE, CALL)
    order = ["demo/s000001 · done · 2.3 s · seed 7", "rural Kenya", "burnt her hand", ANSWER, "✓ decision: pass",
             "✎ safety: revise", "[-Then rest.-] {+How old is she?+}", "12,345"]  # fmt: skip
    assert sorted(text.index(part) for part in order) == [text.index(part) for part in order]


def test_no_line_is_wider_than_the_terminal() -> None:
    hard = DONE.model_copy(
        update={"query": "火" * 100 + " " + "x" * 200, "cause": "y" * 200, "cause_kind": "ReplyError"}
    )
    assert max(cell_len(line) for line in printed(hard, CALL, messages=True, reasoning=True).splitlines()) <= 80


def test_reasoning_is_folded_until_it_is_asked_for() -> None:
    assert printed(DONE).count("We think of burns first") == 1
    assert printed(DONE, reasoning=True).count("We think of burns") == 5


def test_on_a_terminal_changes_are_coloured_and_have_no_brackets() -> None:
    text = printed(DONE, color=True)
    assert "[-" not in text
    assert "\x1b[4;32mHow" in text


def test_calls_show_messages_and_reply_when_asked() -> None:
    assert "Review it." not in printed(DONE, CALL)
    text = printed(DONE, CALL, messages=True)
    assert "Review it." in text
    assert "[reply: unclosed_reasoning, length]" in text
    assert '\n{"verdict":\n' in text


@pytest.mark.parametrize(
    "lost",
    [
        {"refinement": None},
        {"refinement": None, "critiques": ()},
        {"refinement": None, "critiques": (), "response": None},
        {"refinement": None, "critiques": (), "response": None, "query": None},
        {"refinement": None, "critiques": (), "response": None, "query": None, "persona": None, "seconds": None},
        {"response": None},
    ],
)
@pytest.mark.parametrize("status", ["pending", "running", "failed"])
def test_a_sample_that_did_not_come_far_can_be_read(lost: dict[str, Any], status: str) -> None:
    assert f"demo/s000001 · {status}" in printed(DONE.model_copy(update={"status": status, **lost}))


def test_a_failed_sample_says_where_and_why() -> None:
    cause = {"cause_kind": "ReplyError.malformed", "cause": "no JSON\n  try: repairs", "failed_node": "safety"}
    text = printed(DONE.model_copy(update={"status": "failed", "refinement": None, **cause}))
    assert "ReplyError.malformed at safety\n  no JSON\n    try: repairs" in text


def test_a_sample_that_every_critic_passed_says_so() -> None:
    alone = DONE.model_copy(update={"refinement": None})
    passed = alone.model_copy(update={"critiques": DONE.critiques[:1]})
    assert "none: no critic asked for a revision" in printed(passed)
    assert "none: the recipe only criticises" in printed(alone)


def test_grades_say_when_the_judge_failed() -> None:
    grades = (Grade(item=1, points=5, met=True), Grade(item=2, points=-3, met=None, explanation="no usable reply"))
    text = printed(DONE.model_copy(update={"grades": grades, "score": 0.5}))
    assert "1: +5 points, met" in text
    assert "2: -3 points, the judge failed\n    judge: no usable reply" in text


def test_a_grade_stands_beside_its_criterion_and_axis() -> None:
    item = RubricItem(criterion="Asks since when.", points=5, tags=("level:example", "axis:context_awareness"))
    grade = Grade(item=0, points=5, met=False, explanation="It does not ask.")
    text = printed(DONE.model_copy(update={"rubric": (item,), "grades": (grade,), "score": 0.0}))
    assert "0: +5 points, not met · context awareness\n  Asks since when.\n    judge: It does not ask." in text


def test_a_persona_has_its_own_attributes_in_its_own_order() -> None:
    who = {"ward": "seven", "age": "40", "first language": "Hindi"}
    shown = printed(DONE.model_copy(update={"persona": who}))
    places = [shown.index(text) for text in who.values()]
    assert places == sorted(places)
    assert all(re.search(rf"^ *{name} +{value}$", shown, re.MULTILINE) for name, value in who.items())


def test_hostile_text_cannot_steer_the_terminal_and_is_no_markup() -> None:
    hostile = "\x1b[2J\x1b]0;owned\x07\x9b31m[bold]not bold[/bold] :warning: \u202egnol\r\x08"
    everywhere = {
        "query": hostile,
        "persona": PERSONA | {"identity": hostile},
        "response": Response(reasoning=hostile, answer=hostile),
        "critiques": (Critique(critic="safety", verdict="revise", rationale=hostile),),
        "refinement": Refinement(reasoning=hostile, answer=hostile + " more"),
        "grades": (Grade(item=1, points=1, met=False, explanation=hostile),),
        "cause": hostile,
        "cause_kind": "ReplyError",
        "origin": hostile,
    }
    call = CALL.model_copy(
        update={
            "messages": (Message(role="user", content=hostile),),
            "reply": Reply(text=hostile, reasoning=hostile, finish_reason=hostile),
            "parameters": {"stop": hostile},
        }
    )
    text = printed(DONE.model_copy(update=everywhere), call, reasoning=True, messages=True)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    assert text.count("owned") == 1  # in the parameters, where JSON escapes what stands before it
    assert text.count("[bold]not bold[/bold] :warning: gnol") >= 10


def test_a_broken_reply_is_marked_where_it_broke_and_cannot_color_the_mark() -> None:
    broken = Broken(before='{"rationale": \x1b[32mWe', after=" ask}")
    shown = Evidence(what="critics.safety, attempt 1: malformed", quote="not shown", call=4, broken=broken)
    file = io.StringIO()
    console = Console(file=file, width=80, markup=False, highlight=False, emoji=False)
    print_reason(console, Reason(sample="demo/s1", status="failed", answer="Failed.", evidence=(shown,)))
    assert file.getvalue().splitlines()[2:] == [
        "  critics.safety, attempt 1: malformed (call 4)",
        '    {"rationale": We[break] ask}',
    ]
