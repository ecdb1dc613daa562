"""The index of attributes: which a run's personas have, and which samples have each value."""

from muser.core.types import SampleInput
from muser.store.file.database import Store
from muser.store.queries.attributes import Attributes
from muser.store.queries.listing import list_samples
from muser.store.queries.overview import coverage
from muser.store.records.runs import Run, create_run
from muser.store.records.samples import add_samples, record_sample


def asked(key: str, **persona: str) -> SampleInput:
    return SampleInput(key=key, query="Why?", persona=persona)


async def test_attributes_are_those_of_the_run_in_the_order_of_its_personas(store: Store, run: Run) -> None:
    create_run(store, run.model_copy(update={"id": "other"}))
    add_samples(store, "other", [asked("a", zone="1", age="9")], 1)
    add_samples(store, "demo", [asked("a", ward="7", age="40"), asked("b", city="Lima", ward="7")], 1)
    assert list(Attributes(store, "demo")) == ["ward", "age", "city"]
    assert "zone" not in Attributes(store, "demo")
    assert list(Attributes(store)) == ["zone", "age", "ward", "city"]
    assert list(coverage(store, "demo").items()) == [("ward", {"7": 2}), ("age", {"40": 1}), ("city", {"Lima": 1})]


async def test_a_sample_that_gets_another_persona_is_found_by_the_new_one_only(store: Store, run: Run) -> None:
    add_samples(store, "demo", [asked("a", ward="7"), asked("b", ward="7")], 1)
    for persona in ({"ward": "8", "age": "40"}, {"ward": "8", "age": "40"}):
        await record_sample(store, "demo/a", status="done", state={"query": "Why?", "persona": persona})
    found = {where: list_samples(store, "demo", where).total for where in ("ward=7", "ward!=7", "ward>7", "has age")}
    assert found == {"ward=7": 1, "ward!=7": 1, "ward>7": 1, "has age": 1}
    assert coverage(store, "demo") == {"ward": {"7": 1, "8": 1}, "age": {"40": 1}}


async def test_a_run_that_is_deleted_leaves_nothing_in_the_index(store: Store, run: Run) -> None:
    add_samples(store, "demo", [asked("a", ward="7")], 1)
    store.write_now(lambda db: db.execute("DELETE FROM runs"))
    for table in ("attribute_values", "sample_attributes"):
        assert store.read(f"SELECT count(*) AS n FROM {table}") == [{"n": 0}]
