import json
from sqlite3 import Connection

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muser.core.types import Message
from muser.store.file.database import Store
from muser.store.file.texts import build_messages, cut, get_texts, put_text, put_texts, rope_ids, tie_messages

HOSTILE = [
    "",
    " \n\t ",
    "\0",
    "before\0after",
    "\ud800 alone",
    "\udc00\ud800 reversed",
    "\U0001f9ea whole pair",
    "'; DROP TABLE texts; --",
    "\x1b[31mred\x07",
    "\u202eright to left",
    "\ufffd",
    "\ufeffmarked",
    "long " * 100_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_text_comes_back_exactly_and_its_row_can_be_read(store: Store, text: str) -> None:
    made = store.write_now(lambda db: put_text(db, text))
    with store.reader() as db:
        assert get_texts(db, [made]) == {made: text}
    body = store.read("SELECT body FROM texts")[0]["body"]
    json.dumps(body, ensure_ascii=False).encode()
    assert "\0" not in body


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(texts=st.lists(st.text(st.characters(exclude_categories=()), max_size=40), max_size=20))
def test_any_texts_come_back_exactly_and_each_is_stored_once(store: Store, texts: list[str]) -> None:
    ids = store.write_now(lambda db: [put_text(db, text) for text in texts])
    with store.reader() as db:
        found = get_texts(db, ids)
    assert [found[i] for i in ids] == texts
    assert len(set(ids)) == len(set(texts))


def test_texts_that_look_alike_once_made_readable_are_still_two(store: Store) -> None:
    ids = store.write_now(lambda db: [put_text(db, text) for text in ("\ufffd", "\0", "\ud800", "\udc00")])
    assert len(set(ids)) == 4


def test_a_message_that_quotes_a_known_text_refers_to_it(store: Store) -> None:
    answer = "You should rest and drink. " * 20
    messages = (
        Message(role="system", content="You are a critic."),
        Message(role="user", content=f"Here is an answer:\n{answer}\nJudge it. Again: {answer}"),
    )

    def change(db: Connection) -> tuple[int, str]:
        cut_up = [(message.role, cut(message.content, [answer])) for message in messages]
        ids = put_texts(db, [piece for _, pieces in cut_up for piece in pieces])
        return ids[answer], tie_messages(cut_up, ids)

    known, stored = store.write_now(change)
    assert rope_ids(stored).count(known) == 2
    with store.reader() as db:
        assert build_messages(stored, get_texts(db, rope_ids(stored))) == messages
    assert max(len(row["body"]) for row in store.read("SELECT body FROM texts WHERE id <> ?", (known,))) < 50


@given(
    st.lists(st.sampled_from(["a" * 130, "b" * 200, "ab" * 90, "x", ""]), max_size=8), st.permutations([130, 200, 180])
)
def test_pieces_always_join_to_the_text(parts: list[str], order: list[int]) -> None:
    known = [{130: "a" * 130, 200: "b" * 200, 180: "ab" * 90}[size] for size in order]
    assert "".join(cut("".join(parts), known)) == "".join(parts)


def test_a_model_that_repeats_itself_without_end_is_cut_too() -> None:
    loop = "We should ask how it started. " * 5
    text = loop * 5000 + "cut"
    assert "".join(cut(text, [loop])) == text
    assert cut("", [loop]) == [""]
    assert cut(loop, [loop]) == [loop]
