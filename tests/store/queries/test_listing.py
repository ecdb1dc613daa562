"""Lists of samples as a run leaves them: filtered, searched, sorted, and a page at a time."""

from typing import Any

import pytest

from muser.core.errors import InputError, ReplyError
from muser.core.types import Message, Persona, Reply, SampleInput, Usage
from muser.store.file.database import Store, now
from muser.store.queries.listing import ENDED, Listing, ended_since, list_samples
from muser.store.records.history import prune
from muser.store.records.ledger import Call, record_call
from muser.store.records.runs import Run, create_run
from muser.store.records.samples import add_samples, record_sample, retry_samples, take_pending
from muser.store.records.search import index_texts, unsearched

PERSONA = Persona(
    identity="patient", region="rural Kenya", condition="fever", intent="advice", vagueness="v", completeness="c",
    style="s",
)  # fmt: skip


def keys(listing: Listing) -> list[str]:
    return [line.key for line in listing.samples]


def state(query: str, answer: str, refined: str = "", verdict: str = "pass") -> dict[str, Any]:
    return {
        "persona": PERSONA,
        "query": query,
        "response": {"reasoning": "hidden words", "answer": answer},
        "critiques": [{"critic": "safety", "verdict": verdict, "rationale": "r"}],
        "refinement": {"reasoning": "hidden words", "answer": refined} if refined else None,
        "round": 1,
    }


async def call(store: Store, sample: str, tokens: int) -> None:
    await record_call(
        store,
        Call(
            sample_id=sample, role="responder", request_hash=f"{tokens:064x}", model="m", outcome="ok",
            messages=(Message(role="user", content="Hi"),), parameters={},
            reply=Reply(text="x", usage=Usage(tokens_in=tokens, tokens_out=1)),
        ),
    )  # fmt: skip


@pytest.fixture
async def filled(store: Store, run: Run) -> Store:
    create_run(store, run.model_copy(update={"id": "other", "identity": {"roles": ["critics.safety"]}}))
    add_samples(store, "demo", [SampleInput(key=f"s{n}") for n in range(1, 5)], 1)
    add_samples(store, "other", [SampleInput(key="s1", query="Is honey good for a cough?")], 1)
    for sample, tokens in (("demo/s1", 50), ("demo/s2", 900), ("demo/s3", 10)):
        await take_pending(store, "demo", 1)
        await call(store, sample, tokens)
    done = {"status": "done"}
    await record_sample(store, "demo/s1", state=state("I have chest pain.", "Rest.", "Call for help."), **done)  # type: ignore[arg-type]
    await record_sample(store, "demo/s2", state=state("My chest; no pain.", "Rést.", verdict="revise"), **done)  # type: ignore[arg-type]
    cause = ReplyError("no JSON", outcome="malformed")
    await record_sample(
        store, "demo/s3", state={"query": "Fever?"}, status="failed", cause=cause, failed_node="respond"
    )
    return store


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("", ["s1", "s2", "s3", "s4"]),
        ("status=done", ["s1", "s2"]),
        ("verdict.safety=revise", ["s2"]),
        ("verdict.safety!=revise", ["s1", "s3", "s4"]),
        ('region="rural Kenya" and tokens>51', ["s2"]),
        ("region~KENYA", ["s1", "s2"]),
        ("region~%", []),
        ("persona.region=x", []),
        ("has style", ["s1", "s2"]),
        ("cause=ReplyError.malformed or not has query", ["s3", "s4"]),
        ("node=respond", ["s3"]),
        ('text~"chest pain"', ["s1"]),
        ("query~chest", ["s1", "s2"]),
        ("response~rest and not has refinement", ["s2"]),
        ("refinement~rest", []),
        ("text~hidden", []),
        ("text~'fev*'", ["s3"]),
        ("not text~chest", ["s3", "s4"]),
        ("not tokens>20", ["s3", "s4"]),
        ("has verdict.safety and rounds>=1", ["s1", "s2"]),
        ("run=other", []),
    ],
)
async def test_a_filter_leaves_the_samples_that_it_holds_for(filled: Store, where: str, found: list[str]) -> None:
    listing = list_samples(filled, "demo", where)
    assert (keys(listing), listing.total) == (found, len(found))


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("", ["s1", "s2", "s3", "s4"]),
        ("-", ["s4", "s3", "s2", "s1"]),
        ("tokens", ["s4", "s3", "s1", "s2"]),
        ("-tokens", ["s2", "s1", "s3", "s4"]),
        ("node", ["s3", "s1", "s2", "s4"]),
        ("-key", ["s4", "s3", "s2", "s1"]),
    ],
)
async def test_samples_are_sorted_and_those_without_the_value_come_last(
    filled: Store, sort: str, order: list[str]
) -> None:
    assert keys(list_samples(filled, "demo", sort=sort)) == order


async def test_attributes_of_a_users_own_compare_and_sort_as_the_numbers_that_they_are(store: Store, run: Run) -> None:
    ages = {"a": "9", "b": "40", "c": "old", "d": "101"}
    given = [SampleInput(key=key, query="Why?", persona={"age": age, "status": "in care"}) for key, age in ages.items()]
    add_samples(store, "demo", [*given, SampleInput(key="e", query="Why?")], 1)
    assert keys(list_samples(store, "demo", "age>9 and age<=101")) == ["b", "d"]
    assert keys(list_samples(store, "demo", 'age=40 or age>"o"')) == ["b", "c"]
    assert keys(list_samples(store, "demo", sort="age")) == ["a", "b", "d", "c", "e"]
    assert keys(list_samples(store, "demo", 'persona.status="in care"', sort="-persona.age")) == ["d", "b", "a", "c"]
    for text in ("agee>1", "ward=7"):
        with pytest.raises(InputError, match="unknown name"):
            list_samples(store, "demo", text)
    for sort in ("agee", "a[0"):
        with pytest.raises(InputError, match="cannot be sorted"):
            list_samples(store, "demo", sort=sort)


async def test_a_page_is_a_part_and_the_total_is_of_all(filled: Store) -> None:
    listing = list_samples(filled, "demo", sort="-tokens", limit=2, offset=1)
    assert (keys(listing), listing.total) == (["s1", "s3"], 4)
    assert list_samples(filled, "demo", offset=10**30).total == list_samples(filled, "demo", limit=0).total == 4


async def test_a_line_says_what_became_of_a_sample(filled: Store) -> None:
    done, failed = list_samples(filled, "demo", "key=s2 or key=s3").samples
    assert (done.id, done.verdicts, done.tokens, done.query) == (
        "demo/s2", {"safety": "revise"}, 901, "My chest; no pain.",
    )  # fmt: skip
    assert (failed.status, failed.cause_kind, failed.failed_node) == ("failed", "ReplyError.malformed", "respond")


async def test_all_runs_are_listed_where_none_is_named(filled: Store) -> None:
    assert list_samples(filled).total == 5
    assert [line.id for line in list_samples(filled, where="run=other").samples] == ["other/s1"]


async def test_a_search_wants_every_word_in_one_of_the_texts(filled: Store) -> None:
    assert keys(list_samples(filled, search="pain chest")) == ["s1", "s2"]
    assert keys(list_samples(filled, search='"chest pain"')) == ["s1"]
    assert keys(list_samples(filled, search="chest rest")) == ["s1", "s2"]
    assert keys(list_samples(filled, search="chest call")) == ["s1"]
    assert keys(list_samples(filled, search='honey OR"')) == []
    assert keys(list_samples(filled, search="?")) == []


async def test_the_index_is_filled_by_who_searches_and_follows_what_is_recorded_later(filled: Store) -> None:
    heard: list[tuple[int, int]] = []
    assert unsearched(filled) == 4
    list_samples(filled, "demo", "status=done")
    assert unsearched(filled) == 4
    list_samples(filled, search="fever", on_indexed=lambda done, total: heard.append((done, total)))
    assert heard == [(4, 4)]
    assert unsearched(filled) == 0
    retry_samples(filled, "demo")
    await record_sample(filled, "demo/s3", state=state("Fever?", "Paracetamol."), status="done")
    assert unsearched(filled) == 1
    assert keys(list_samples(filled, search="paracetamol")) == ["s3"]
    assert keys(list_samples(filled, search="fever")) == ["s3"]


async def test_texts_that_are_dropped_leave_the_index(filled: Store) -> None:
    await record_sample(filled, "demo/s3", state={"query": "An unusual word: zebra"}, status="failed")
    index_texts(filled)
    retry_samples(filled, "demo")
    await record_sample(filled, "demo/s3", state=state("Fever?", "Paracetamol."), status="done")
    assert prune(filled).texts
    await record_sample(filled, "demo/s4", state={"query": "It takes the free number"}, status="failed")
    assert keys(list_samples(filled, search="zebra")) == []
    assert keys(list_samples(filled, search="takes free")) == ["s4"]
    filled.write_now(lambda db: db.execute("INSERT INTO texts_search (texts_search) VALUES ('integrity-check')"))


async def test_who_follows_a_run_is_told_what_ended_since(filled: Store) -> None:
    first = ended_since(filled, "demo", "2000")
    assert [line.key for line in first] == ["s1", "s2", "s3"]
    assert ended_since(filled, "demo", now()) == ()
    known = {line.id for line in first}
    await record_sample(filled, "demo/s4", state=state("Late?", "Yes."), status="done")
    assert [line.id for line in ended_since(filled, "demo", now(60), known)] == ["demo/s4"]
    plan = filled.read(f"EXPLAIN QUERY PLAN {ENDED}", ("demo", now()))
    assert "samples_by_end (run_id=? AND finished_at>?)" in str(plan)


async def test_a_critic_or_an_order_that_is_not_there_is_a_mistake(filled: Store) -> None:
    with pytest.raises(InputError, match="did you mean safety"):
        list_samples(filled, "other", "verdict.safty=pass")
    with pytest.raises(InputError, match="did you mean tokens"):
        list_samples(filled, "demo", sort="-token")
