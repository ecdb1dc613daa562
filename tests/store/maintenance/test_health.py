import asyncio
import re
import shutil
import sqlite3
import subprocess
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from muser.core.errors import DamagedDatabase, MuserError
from muser.core.types import SampleInput
from muser.store.file.connections import connect
from muser.store.file.database import Store
from muser.store.maintenance.health import Health, check_store
from muser.store.queries.export import export_rows
from muser.store.records.ledger import calls_of
from muser.store.records.runs import Run, list_runs
from muser.store.records.samples import add_samples, get_trace, load_persona

from ..filled import answer_of, fill

ROOT = Path(__file__).parents[3]


def overwrite_page(path: Path, page: int, size: int) -> None:
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)


def pages_of(store: Store, table: str) -> list[int]:
    """The table's pages but for its root, through which everything would be lost."""
    rows = store.read("SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY pageno", (table,))
    return [row["pageno"] for row in rows]


async def test_a_store_in_use_is_sound(store: Store, run: Run) -> None:
    await fill(store, run.id, 2, unfinished=1)
    health = check_store(store)
    assert health.is_sound
    assert health.samples == 3


def test_a_store_is_sound_at_every_moment_of_a_run(store: Store, run: Run) -> None:
    async def check_while_writing() -> list[Health]:
        writing = asyncio.create_task(fill(store, run.id, 15))
        found = []
        while not writing.done():
            found.append(await asyncio.to_thread(check_store, store))
        await writing
        return found

    found = asyncio.run(check_while_writing())
    assert len(found) > 1
    assert [health for health in found if not health.is_sound] == []


ALTERED = "UPDATE texts SET body = 'a' || substr(body, 2) WHERE id = (SELECT answer_id FROM samples WHERE key = 's001')"


async def test_an_altered_text_is_named_with_its_sample_and_is_never_read_or_exported(
    store: Store, run: Run, tmp_path: Path
) -> None:
    ids = await fill(store, run.id, 3)
    store.write_now(lambda db: db.execute(ALTERED).rowcount)
    text = store.read("SELECT answer_id FROM samples WHERE key = 's001'")[0]["answer_id"]
    health = check_store(store)
    assert not health.corrupted, "to SQLite it is a text like any other"
    assert health.broken[0] == f"text {text} was altered: it does not match its hash"
    assert health.unreadable == [ids[1]]
    with pytest.raises(DamagedDatabase, match=f"Text {text} was altered"):
        get_trace(store, ids[1])
    assert get_trace(store, ids[2]).response
    with pytest.raises(DamagedDatabase, match=f"Text {text} of sample {ids[1]} was altered"):
        export_rows(store, run.id, "distill", tmp_path / "rows.jsonl")
    assert not (tmp_path / "rows.jsonl").exists()


async def test_an_altered_step_and_an_impossible_word_are_told(store: Store, run: Run) -> None:
    await fill(store, run.id, 2)
    store.write_now(lambda db: db.execute("UPDATE checkpoint_values SET data = x'2d00' WHERE rowid = 1").rowcount)
    store.write_now(lambda db: db.execute("UPDATE samples SET status = 'gone' WHERE key = 's001'").rowcount)
    store.write_now(lambda db: db.execute("UPDATE calls SET reply = '[1' WHERE id = 1").rowcount)
    store.write_now(lambda db: db.execute("UPDATE samples SET extra = '{a' WHERE key = 's001'").rowcount)
    assert check_store(store).broken == [
        "1 rows of samples have the unknown status 'gone'",
        "1 rows of samples have extra that cannot be read",
        "1 rows of calls have a list of texts that cannot be read",
        "a value in the steps of demo/s000 was altered or cannot be read",
    ]


async def test_a_persona_that_its_index_does_not_have_is_reported(store: Store, run: Run) -> None:
    add_samples(store, run.id, [SampleInput(key="s1", persona={"ward": "7", "age": "40"})], 1)
    assert not check_store(store).broken
    store.write_now(lambda db: db.execute("UPDATE attribute_values SET value = '8' WHERE name = 'ward'").rowcount)
    assert check_store(store).broken == ["the index of attributes differs from the personas in 2 places"]
    for altered in ('{"ward', '{"a.b": "x"}', '["x"]'):
        with pytest.raises(DamagedDatabase, match="The persona of a sample cannot be read"):
            load_persona(altered)


async def test_an_altered_schema_is_corruption_and_no_bug(store: Store, run: Run) -> None:
    await fill(store, run.id, 1)
    with pytest.raises(sqlite3.OperationalError, match="no such column"):
        store.read("SELECT rationale_ie FROM critiques")

    def rename(db: sqlite3.Connection) -> None:
        db.execute("ALTER TABLE critiques RENAME COLUMN rationale_id TO rationale_ie")

    store.write_now(rename)
    found = check_store(store).corrupted["(the schema)"]
    assert "table critiques was altered" in found
    with pytest.raises(DamagedDatabase, match="no such column"):
        store.read("SELECT rationale_id FROM critiques")


@pytest.mark.parametrize("flips", [1, pytest.param(50, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
def test_every_flipped_bit_ends_in_a_report_or_a_message(store: Store, run: Run, path: Path, flips: int) -> None:
    """In each page of the file."""
    asyncio.run(fill(store, run.id, 3))
    size = store.read("PRAGMA page_size")[0]["page_size"]
    store.close()
    whole, random = path.read_bytes(), Random(5)
    unnoticed = total = 0
    for start in range(0, len(whole), size):
        used = [place for place in range(start, start + size) if whole[place]]
        for place in random.sample(used, min(flips, len(used))):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << random.randrange(8)
            path.write_bytes(flipped)
            with suppress(MuserError), Store.open(path) as opened:
                unnoticed += check_store(opened).is_sound
            total += 1
    assert total >= len(whole) // size
    assert unnoticed < total // 2


@pytest.mark.parametrize("table", ["texts", "calls", "samples", "checkpoint_values"])
async def test_a_corrupted_page_is_named_by_its_table_and_the_samples_beside_it_stay_readable(
    store: Store, run: Run, path: Path, table: str
) -> None:
    ids = await fill(store, run.id, 130)
    size, pages = store.read("PRAGMA page_size")[0]["page_size"], pages_of(store, table)
    store.close()
    assert len(pages) > 1
    overwrite_page(path, pages[len(pages) // 2], size)
    with Store.open(path) as opened:
        health = check_store(opened)
        assert table in health.corrupted
        assert not health.is_sound
        assert 0 < health.unreadable_samples < len(ids)
        whole = [one for one in ids if one not in health.unreadable]
        assert len(whole) + health.unreadable_samples >= len(ids)
        for one in whole if health.unreadable_samples == len(health.unreadable) else []:
            assert get_trace(opened, one).response.answer == answer_of(one.removeprefix("demo/"))  # type: ignore[union-attr]
            assert calls_of(opened, one)
        try:
            assert list_runs(opened)[0].id == run.id
        except DamagedDatabase as error:
            assert "muser db check" in error.todo  # noqa: PT017 - it may also work


async def test_a_reference_that_leads_nowhere_is_told(store: Store, run: Run, path: Path) -> None:
    ids = await fill(store, run.id, 3)
    store.close()
    db = connect(path)
    db.execute("PRAGMA foreign_keys = OFF")
    db.execute("DELETE FROM texts WHERE id IN (SELECT value FROM calls, json_each(calls.reply) WHERE calls.id = 2)")
    db.close()
    with Store.open(path) as opened:
        health = check_store(opened)
        assert not health.corrupted
        assert "1 rows of calls refer to texts that are missing" in health.broken
        assert health.unreadable == [ids[1]]
        with pytest.raises(DamagedDatabase, match="missing"):
            get_trace(opened, ids[1])
        assert get_trace(opened, ids[0]).response


async def test_usage_that_is_not_the_sum_of_the_calls_is_reported(store: Store, run: Run) -> None:
    await fill(store, run.id, 2)
    store.write_now(lambda db: db.execute("UPDATE usage SET tokens_in = tokens_in + 1").rowcount)
    assert check_store(store).broken == ["the usage of run demo does not match the sum of its calls"]


async def test_a_file_whose_first_page_is_corrupted_cannot_be_read_at_all(store: Store, run: Run, path: Path) -> None:
    await fill(store, run.id, 1)
    size = store.read("PRAGMA page_size")[0]["page_size"]
    store.close()
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xa5" * (size - 100))
    with pytest.raises(DamagedDatabase), Store.open(path) as opened:
        check_store(opened)


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="needs SQLite's command line")
async def test_what_the_docs_say_saves_what_is_readable(store: Store, run: Run, path: Path) -> None:
    ids = await fill(store, run.id, 130)
    size, pages = store.read("PRAGMA page_size")[0]["page_size"], pages_of(store, "texts")
    store.close()
    overwrite_page(path, pages[len(pages) // 2], size)
    commands = re.findall(r"^sqlite3 .*$", (ROOT / "docs" / "storage.md").read_text(), re.MULTILINE)
    assert len(commands) == 2
    script = ["sh", "-c", "\n".join(commands)]
    await asyncio.to_thread(subprocess.run, script, cwd=path.parent, check=True, capture_output=True)
    with Store.open(path.with_name("saved.db"), create=False) as saved:
        health = check_store(saved)
        assert not health.corrupted
        assert health.samples == len(ids)
        assert 0 < health.unreadable_samples < len(ids)
        add_samples(saved, run.id, [SampleInput(key="new", query="?")], 1)
