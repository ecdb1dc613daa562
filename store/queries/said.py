"""What a run's finished samples say, text by text: queries, earlier turns and answers."""

from collections.abc import Iterator
from contextlib import closing
from typing import Literal, NamedTuple

from ..file.database import Store
from ..file.texts import build_messages, get_texts, rope_ids


class Said(NamedTuple):
    """A text of a sample. The answers are the response's and the refined one."""

    sample_id: str
    part: Literal["query", "history", "answer"]
    text: str


def said(store: Store, run_id: str) -> Iterator[Said]:
    """The texts in the samples' order. Raises DamagedDatabase if one was altered."""
    with closing(store.stream(SAID, (run_id,))) as rows:
        for sample, history, *ids in rows:
            with store.reader() as db:
                texts = get_texts(db, [*ids, *rope_ids(history)])
            yield from (Said(sample, "history", turn.content) for turn in build_messages(history or "[]", texts))
            yield Said(sample, "query", texts[ids[0]])
            yield from (Said(sample, "answer", texts[number]) for number in ids[1:] if number is not None)


SAID = """
    SELECT run_id || '/' || key, history, query_id, answer_id, refined_answer_id FROM samples
    WHERE run_id = ? AND status = 'done' AND query_id IS NOT NULL ORDER BY id"""
