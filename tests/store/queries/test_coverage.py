"""The personas and queries that coverage counts: those of accepted samples."""

import pytest

from muser.core.types import SampleInput
from muser.store.file.database import Store
from muser.store.queries.coverage import accepted_personas, accepted_queries, count_accepted, count_pairs
from muser.store.records.runs import Run
from muser.store.records.samples import add_samples

INPUTS = [
    SampleInput(key="s000001", persona={"who": "parent", "my-own": "x"}, query="first"),
    SampleInput(key="s000002", persona={"who": "parent", "my-own": "y"}, query="second"),
    SampleInput(key="t000001", persona={"who": "parent", "my-own": "x"}, query="third"),
    SampleInput(key="s1", query="brought"),
    SampleInput(key="s000003", persona={"who": "parent", "my-own": "x"}, query="unfinished"),
]


@pytest.fixture
def filled(store: Store, run: Run) -> Store:
    add_samples(store, run.id, INPUTS, 1)
    store.write_now(lambda db: db.execute("UPDATE samples SET status = 'done' WHERE key <> 's000003'").rowcount)
    return store


def test_unfinished_samples_do_not_count_and_top_ups_are_told_apart(filled: Store) -> None:
    assert count_accepted(filled, "demo") == (4, 2, 1)
    assert count_accepted(filled, "nobody") == (0, 0, 0)
    assert list(accepted_personas(filled, "demo")) == [one.persona for one in INPUTS[:3]]


def test_pairs_of_a_users_own_attributes_are_counted(filled: Store) -> None:
    assert count_pairs(filled, "demo", "who", "my-own") == {("parent", "x"): 2, ("parent", "y"): 1}
    assert count_pairs(filled, "demo", "who", "whom") == {}


def test_of_many_queries_every_nth_is_read(filled: Store) -> None:
    assert accepted_queries(filled, "demo", 4) == ["first", "second", "third", "brought"]
    assert accepted_queries(filled, "demo", 3) == ["first", "third"]
