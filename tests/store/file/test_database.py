import tracemalloc

import pytest

from muser.store.file.database import PAGE, Store, now
from muser.store.file.texts import put_text


def fill(store: Store, count: int) -> None:
    store.write_now(lambda db: [put_text(db, f"text {n} " * 100) for n in range(count)])


def test_readers_cannot_write(store: Store) -> None:
    with store.reader() as db, pytest.raises(Exception, match="readonly"):
        db.execute("DELETE FROM texts")


def test_a_long_result_is_streamed_in_pages_as_of_its_start(store: Store) -> None:
    fill(store, 3 * PAGE + 1)
    rows = store.stream("SELECT id FROM texts ORDER BY id")
    seen = [next(rows)["id"]]
    store.write_now(lambda db: put_text(db, "later"))
    seen += [row["id"] for row in rows]
    assert len(seen) == 3 * PAGE + 1


def test_streaming_holds_no_more_than_a_page(store: Store) -> None:
    fill(store, 20 * PAGE)
    tracemalloc.start()
    try:
        assert sum(len(row["body"]) > 0 for row in store.stream("SELECT body FROM texts")) == 20 * PAGE
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    total = store.read("SELECT sum(length(body)) AS n FROM texts")[0]["n"]
    assert peak < total / 4


def test_a_stream_that_is_left_early_gives_its_connection_back(store: Store) -> None:
    fill(store, 2 * PAGE)
    for _ in range(5):
        rows = store.stream("SELECT id FROM texts")
        next(rows)
        rows.close()
    assert store._idle.qsize() == 1


def test_times_are_utc_in_iso_8601(store: Store) -> None:
    stamp = now()
    assert len(stamp) == 24
    assert stamp.endswith("Z")
    assert store.read("SELECT abs(julianday('now') - julianday(?)) * 86400 < 5 AS close", (stamp,)) == [{"close": 1}]
