import json
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlite_utils import Database

from muser.core.types import Message, Persona, Reply, SampleInput
from muser.store.file.connections import APPLICATION_ID, VERSION, connect, prepare
from muser.store.file.database import Store
from muser.store.file.objects import SCHEMA, schema_digest
from muser.store.file.schema import migrations
from muser.store.queries.listing import list_samples
from muser.store.records.ledger import Call, record_call, usage_by_role
from muser.store.records.runs import Run
from muser.store.records.samples import add_samples, get_trace, record_sample

PERSONA = Persona(
    identity="patient",
    region="Kenya",
    condition="fever",
    intent="advice",
    vagueness="high",
    completeness="low",
    style="lay",
)


def test_every_table_of_ours_is_strict_and_every_reference_is_enforced(store: Store) -> None:
    tables = store.read("SELECT name, strict FROM pragma_table_list WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    assert [t["name"] for t in tables if not t["strict"]] == ["_sqlite_migrations"]
    with store.reader() as db:
        assert db.execute("PRAGMA foreign_keys").fetchone()[0] == 1
    assert store.write_now(lambda db: db.execute("PRAGMA foreign_keys").fetchone()[0]) == 1


def test_the_version_counts_the_steps() -> None:
    assert len(migrations._migrations) == VERSION


def test_the_digest_is_that_of_a_new_store(store: Store) -> None:
    with store.reader() as db:
        assert schema_digest(db) == SCHEMA


def test_usage_totals_survive_the_renaming_of_their_table(path: Path) -> None:
    with closing(connect(path, "mode=rwc")) as db:
        migrations.apply(Database(db), stop_before="rename_accounts_to_usage")
        db.execute(
            "INSERT INTO runs (id, name, kind, status, seed, folder, recipe, identity, fingerprint, prompts, versions, "
            "created_at) VALUES ('r', 'r', 'samples', 'done', 0, '', '', '{}', '', '{}', '{}', '')"
        )
        db.execute("INSERT INTO accounts VALUES ('r', 'refiner', 'ok', 2, 1, 0, 30, 4, 5, 1.5)")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION - 1}")
    with Store.open(path) as store:
        (usage,) = usage_by_role(store, "r")
    assert (usage.role, usage.calls, usage.reused, usage.tokens_in) == ("refiner", 2, 1, 30)


def test_personas_of_an_older_store_become_objects(path: Path) -> None:
    with closing(connect(path, "mode=rwc")) as db:
        migrations.apply(Database(db), stop_before="keep_personas_as_json")
        db.execute(
            "INSERT INTO runs (id, name, kind, status, seed, folder, recipe, identity, fingerprint, prompts, versions, "
            "created_at) VALUES ('r', 'r', 'samples', 'done', 0, '', '', '{}', '', '{}', '{}', '')"
        )
        db.execute(
            "INSERT INTO samples (run_id, key, seed, identity, region, condition, intent, vagueness, completeness, "
            """style) VALUES ('r', 's1', 1, 'a', 'é "b"', 'c', 'd', 'e', 'f', 'g')"""
        )
        db.execute("INSERT INTO samples (run_id, key, seed) VALUES ('r', 'q1', 1)")
        # A query file could bring empty values.
        db.execute(
            "INSERT INTO samples (run_id, key, seed, identity, region, style) VALUES ('r', 'q2', 1, '', ' ', 's')"
        )
        db.execute("INSERT INTO samples (run_id, key, seed, identity, region) VALUES ('r', 'q3', 1, '', '')")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION - 1}")
    with Store.open(path) as store:
        assert get_trace(store, "r/s1").persona == {
            "identity": "a", "region": 'é "b"', "condition": "c", "intent": "d", "vagueness": "e", "completeness": "f",
            "style": "g",
        }  # fmt: skip
        assert [get_trace(store, f"r/q{n}").persona for n in (1, 2, 3)] == [None, {"style": "s"}, None]
        assert list_samples(store, where="""region='é "b"'""").total == 1


def test_commits_are_flushed_and_readers_do_not_wait_for_the_writer(store: Store) -> None:
    assert store.read("PRAGMA journal_mode") == [{"journal_mode": "wal"}]
    assert store.write_now(lambda db: db.execute("PRAGMA synchronous").fetchone()[0]) == 2


def test_a_store_of_an_older_muser_gets_the_steps_that_it_lacks(path: Path) -> None:
    last = migrations._migrations[-1].name
    with closing(connect(path, "mode=rwc")) as db:
        migrations.apply(Database(db), stop_before=last)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION - 1}")
    prepare(path)
    with Store.open(path) as store:
        assert last in {row["name"] for row in store.read("SELECT name FROM _sqlite_migrations")}
        assert store.read("PRAGMA user_version") == [{"user_version": VERSION}]


async def test_plain_sqlite_reads_the_views_as_plain_columns(store: Store, run: Run, path: Path) -> None:
    add_samples(store, run.id, [SampleInput(key="s1", persona=PERSONA)], 1)
    state = {
        "persona": PERSONA,
        "query": "Fever for three days?\ud800",
        "response": {"reasoning": "think", "answer": "rest"},
        "critiques": [
            {"critic": "safety", "verdict": "revise", "rationale": "We should ask.", "round": 1},
            {"critic": "communication", "verdict": "pass", "rationale": "", "round": 1},
        ],
        "refinement": {"reasoning": "think more", "answer": "see a doctor"},
        "round": 1,
    }
    await record_sample(store, "demo/s1", status="done", state=state, checkpoint_id="c1")
    messages = (Message(role="system", content="You are kind."), Message(role="user", content="Hi\0there"))
    await record_call(
        store,
        Call(
            sample_id="demo/s1", role="responder", request_hash="00" * 32, model="teacher", messages=messages,
            parameters={"temperature": 0.5, "seed": 7}, reply=Reply(text="rest", reasoning="think"), outcome="ok",
        ),
    )  # fmt: skip
    with closing(sqlite3.connect(path)) as plain:
        plain.row_factory = sqlite3.Row
        (trace,) = plain.execute("SELECT * FROM traces").fetchall()
        (call,) = plain.execute("SELECT * FROM calls_plain").fetchall()
    assert {name: trace[name] for name in ("sample", "run", "query", "answer", "refined_answer", "verdicts")} == {
        "sample": "demo/s1",
        "run": "demo",
        "query": "Fever for three days?\ufffd",
        "answer": "rest",
        "refined_answer": "see a doctor",
        "verdicts": "safety: revise, communication: pass",
    }
    assert json.loads(trace["persona"])["region"] == "Kenya"
    assert call["messages"] == "system: You are kind.\n\nuser: Hi\ufffdthere"
    assert (call["sample"], call["reply"], call["reasoning"], call["seed"]) == ("demo/s1", "rest", "think", 7)
    assert call["parameters"] == '{"temperature": 0.5}'
