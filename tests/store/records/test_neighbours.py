"""Distances on a line stand for similarities: a text is a number, and a bucket ten numbers wide."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from muser.core.errors import InputError
from muser.core.types import SampleInput
from muser.store.file.database import Store
from muser.store.records.neighbours import Near, Neighbour, Sketch, add_draw
from muser.store.records.runs import Run, create_run
from muser.store.records.samples import add_samples


def sketch(text: int) -> Sketch:
    return Sketch(hash=b"%d" % text, data=b"%d" % text, buckets=(text // 10, (text + 5) // 10 + 1000))


def closeness(data: bytes, others: Sequence[bytes]) -> list[float]:
    return [1 - abs(int(data) - int(other)) / 10 for other in others]


NEAR = Near(similarity=closeness, least=0.7)


@pytest.fixture(autouse=True)
def samples(store: Store, run: Run) -> None:
    add_samples(store, run.id, [SampleInput(key=f"s{number}") for number in range(1, 41)], 1)


async def add(store: Store, number: int, text: int, draw: int = 1, run: str = "demo") -> list[tuple[int, int, bool]]:
    """The neighbours as (sample number, draw, is lower)."""
    found = await add_draw(store, f"{run}/s{number}", draw, sketch(text), NEAR)
    return [(int(one.sample_id.removeprefix(f"{run}/s")), one.draw, one.lower) for one in found]


async def test_a_draw_gets_its_equal_and_its_near_draws_the_most_similar_first(store: Store) -> None:
    for number, text in ((1, 100), (2, 103), (3, 109), (4, 104)):
        await add(store, number, text)
    assert await add_draw(store, "demo/s5", 2, sketch(103), NEAR) == [
        Neighbour("demo/s2", 1, 1.0, lower=True),
        Neighbour("demo/s4", 1, 0.9, lower=True),
        Neighbour("demo/s1", 1, 0.7, lower=True),
    ]


async def test_texts_with_outlines_that_differ_too_much_are_not_compared(store: Store) -> None:
    near = Near(similarity=closeness, least=0.7, bits=2)
    for number, outline in ((1, 0b0111), (2, 0b1111)):
        await add_draw(store, f"demo/s{number}", 1, replace(sketch(100 + number), outline=outline), near)
    found = await add_draw(store, "demo/s3", 1, replace(sketch(103), outline=0b0001), near)
    assert [one.sample_id for one in found] == ["demo/s1"]


async def test_without_a_similarity_only_equal_texts_are_neighbours(store: Store) -> None:
    await add_draw(store, "demo/s1", 1, sketch(100))
    await add_draw(store, "demo/s2", 1, sketch(101))
    assert await add_draw(store, "demo/s3", 1, sketch(100)) == [Neighbour("demo/s1", 1, 1.0, lower=True)]


async def test_a_sample_is_no_neighbour_of_itself_and_adding_a_draw_again_changes_nothing(store: Store) -> None:
    assert await add(store, 2, 100) == []
    assert await add(store, 2, 101, draw=2) == []
    assert await add(store, 1, 100) == [(2, 1, False), (2, 2, False)]
    assert await add(store, 1, 100) == [(2, 1, False), (2, 2, False)]
    rows = store.read("SELECT (SELECT count(*) FROM sketches) AS texts, count(*) AS draws FROM sketched_draws")
    assert rows == [{"texts": 2, "draws": 3}]


async def test_of_many_equal_draws_a_later_sample_gets_the_lowest_and_a_lower_one_gets_all(store: Store) -> None:
    for number in (5, 9, 7):
        await add(store, number, 100)
    assert await add(store, 8, 100) == [(5, 1, True)]
    assert await add(store, 3, 100) == [(5, 1, False), (7, 1, False), (8, 1, False), (9, 1, False)]


async def test_runs_have_their_own_neighbours(store: Store) -> None:
    other = create_run(
        store, Run(id="other", name="other", recipe="", identity={}, fingerprint="f", prompts={"persona": "p"})
    )
    add_samples(store, other.id, [SampleInput(key="s1")], 1)
    await add(store, 1, 100)
    assert await add(store, 1, 100, run="other") == []


async def test_deleting_a_run_deletes_its_index(store: Store) -> None:
    await add(store, 1, 100)
    store.write_now(lambda db: db.execute("DELETE FROM runs"))
    for table in ("sketched_runs", "sketches", "sketched_draws", "sketch_buckets"):
        assert store.read(f"SELECT count(*) AS n FROM {table}") == [{"n": 0}], table


async def test_an_unknown_sample_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match="demo/s99"):
        await add(store, 99, 1)


def rejected(texts: dict[int, int]) -> set[int]:
    """The samples whose text equals or is near that of a lower one, by comparing all pairs."""
    pairs = ((low, high) for low in texts for high in texts if low < high)
    return {high for low, high in pairs if abs(texts[low] - texts[high]) <= 3}


@pytest.mark.parametrize("seed", range(5))
async def test_which_samples_are_duplicates_does_not_depend_on_the_order_of_arrival(store: Store, seed: int) -> None:
    rng = random.Random(seed)
    texts = {number: rng.randrange(60) for number in range(1, 41)}
    found: set[int] = set()
    for number in rng.sample(sorted(texts), len(texts)):
        for other, _, lower in await add(store, number, texts[number]):
            found.add(number if lower else other)
    assert found == rejected(texts)


def test_a_lookup_reads_indexes_only(store: Store) -> None:
    for sql in (
        "SELECT sketch FROM sketch_buckets WHERE run = 1 AND key = 1",
        "SELECT id FROM sketches WHERE run = 1 AND hash = x'00'",
        "SELECT draw FROM sketched_draws WHERE sketch = 1 ORDER BY sample_id, draw",
        "DELETE FROM sketch_buckets WHERE run = 1",
        "DELETE FROM sketched_draws WHERE sample_id = 1",
    ):
        plan = [row["detail"] for row in store.read(f"EXPLAIN QUERY PLAN {sql}")]
        assert all(step.startswith("SEARCH") for step in plan), plan
