"""Full-text search over queries, responses and refined answers. The index is filled on the first search.

A trigger records which samples have new texts, so search costs a run only a few bytes per sample. The next search adds
those texts to the index, in batches, so that an active run can write in between.
"""

from collections.abc import Callable, Iterable
from sqlite3 import Connection

from ..file.database import Store

BATCH = 500
"""Samples indexed in one transaction."""

OnIndexed = Callable[[int, int], None]
"""(samples indexed so far, samples there were to index)."""


def unsearched(store: Store) -> int:
    """How many samples have texts that are not indexed; indexing takes about a millisecond for each."""
    return int(store.read("SELECT count(*) AS n FROM unsearched")[0]["n"])


def index_texts(store: Store, on_indexed: OnIndexed | None = None) -> None:
    """Bring the index up to date. Raises StoreFull if the store cannot be written."""
    waiting, done = unsearched(store), 0
    while done < waiting:
        indexed = store.write_now(_index_batch)
        done = min(done + indexed, waiting) if indexed else waiting
        if on_indexed:
            on_indexed(done, waiting)


def forget_texts(db: Connection, ids: Iterable[tuple[int]]) -> None:
    """Remove texts from the index, inside a change and before the texts are deleted: SQLite may reuse their ids.

    FTS5's 'delete' command needs the original text (sqlite.org/fts5.html#the_delete_command).
    """
    db.executemany(FORGET, ids)


FORGET = """
    INSERT INTO texts_search (texts_search, rowid, body)
    SELECT 'delete', texts.id, body FROM texts JOIN texts_search_docsize USING (id) WHERE texts.id = ?"""


def _index_batch(db: Connection) -> int:
    """Index the next samples; returns how many. Texts never change, so those already indexed are skipped."""
    last = db.execute("SELECT max(id), count(*) FROM (SELECT id FROM unsearched ORDER BY id LIMIT ?)", (BATCH,))
    upto, count = last.fetchone()
    if count:
        db.execute(INDEX, (upto,))
        db.execute("DELETE FROM unsearched WHERE id <= ?", (upto,))
    return int(count)


INDEX = """
    WITH s AS (SELECT samples.* FROM unsearched JOIN samples USING (id) WHERE unsearched.id <= ?),
    wanted AS (SELECT query_id AS id FROM s UNION SELECT answer_id FROM s UNION SELECT refined_answer_id FROM s)
    INSERT INTO texts_search (rowid, body)
    SELECT texts.id, body FROM wanted JOIN texts USING (id)
    WHERE NOT EXISTS (SELECT 1 FROM texts_search_docsize known WHERE known.id = texts.id) ORDER BY texts.id"""
