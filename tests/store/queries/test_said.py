from muser.core.types import Message, SampleInput
from muser.store.file.database import Store
from muser.store.queries.said import said
from muser.store.records.runs import Run
from muser.store.records.samples import add_samples, get_trace

from ..filled import fill


async def test_queries_earlier_turns_and_answers_of_finished_samples_are_read_in_order(store: Store, run: Run) -> None:
    await fill(store, run.id, 2, unfinished=1)
    found = list(said(store, run.id))
    assert list(dict.fromkeys(one.sample_id for one in found)) == ["demo/s000", "demo/s001"]
    answers = [get_trace(store, one).response for one in ("demo/s000", "demo/s001")]
    assert [one.text for one in found if one.part == "answer"] == [one.answer for one in answers if one]


async def test_the_turns_before_a_query_come_first(store: Store, run: Run) -> None:
    turns = (Message(role="user", content="My ear hurts."), Message(role="assistant", content="Since when?"))
    add_samples(store, run.id, [SampleInput(key="q1", history=turns, query="Two days.")], 1)
    store.write_now(lambda db: db.execute("UPDATE samples SET status = 'done'"))
    assert [(one.part, one.text) for one in said(store, run.id)] == [
        ("history", "My ear hurts."),
        ("history", "Since when?"),
        ("query", "Two days."),
    ]
