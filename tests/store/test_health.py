import asyncio
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from muser.core.errors import DamagedDatabase
from muser.core.types import SampleInput
from muser.store.connections import connect
from muser.store.database import Store
from muser.store.health import check_store
from muser.store.ledger import calls_of
from muser.store.runs import Run, list_runs
from muser.store.samples import add_samples, get_trace

from .filled import answer_of, fill

ROOT = Path(__file__).parents[2]


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


@pytest.mark.parametrize("table", ["texts", "calls", "samples", "checkpoint_values"])
async def test_a_hurt_page_is_named_by_its_table_and_the_samples_beside_it_stay_readable(
    store: Store, run: Run, path: Path, table: str
) -> None:
    ids = await fill(store, run.id, 130)
    size, pages = store.read("PRAGMA page_size")[0]["page_size"], pages_of(store, table)
    store.close()
    assert len(pages) > 1
    overwrite_page(path, pages[len(pages) // 2], size)
    with Store.open(path) as hurt:
        health = check_store(hurt)
        assert table in health.hurt
        assert not health.is_sound
        assert 0 < health.unreadable_samples < len(ids)
        whole = [one for one in ids if one not in health.unreadable]
        assert len(whole) + health.unreadable_samples >= len(ids)
        for one in whole if health.unreadable_samples == len(health.unreadable) else []:
            assert get_trace(hurt, one).response.answer == answer_of(one.removeprefix("demo/"))  # type: ignore[union-attr]
            assert calls_of(hurt, one)
        try:
            assert list_runs(hurt)[0].id == run.id
        except DamagedDatabase as error:
            assert "muser db check" in error.todo  # noqa: PT017 - it may also work


async def test_a_reference_that_leads_nowhere_is_told(store: Store, run: Run, path: Path) -> None:
    ids = await fill(store, run.id, 3)
    store.close()
    db = connect(path)
    db.execute("PRAGMA foreign_keys = OFF")
    db.execute("DELETE FROM texts WHERE id IN (SELECT value FROM calls, json_each(calls.reply) WHERE calls.id = 2)")
    db.close()
    with Store.open(path) as hurt:
        health = check_store(hurt)
        assert not health.hurt
        assert "1 rows of calls quote texts that are not there" in health.broken
        assert health.unreadable == [ids[1]]
        with pytest.raises(DamagedDatabase, match="not there"):
            get_trace(hurt, ids[1])
        assert get_trace(hurt, ids[0]).response


async def test_accounts_that_do_not_add_up_are_told(store: Store, run: Run) -> None:
    await fill(store, run.id, 2)
    store.write_now(lambda db: db.execute("UPDATE accounts SET tokens_in = tokens_in + 1").rowcount)
    assert check_store(store).broken == ["the accounts of run demo are not the sums of its calls"]


async def test_a_file_whose_first_page_is_hurt_is_damaged_altogether(store: Store, run: Run, path: Path) -> None:
    await fill(store, run.id, 1)
    size = store.read("PRAGMA page_size")[0]["page_size"]
    store.close()
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xa5" * (size - 100))
    with pytest.raises(DamagedDatabase), Store.open(path) as hurt:
        check_store(hurt)


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
        assert not health.hurt
        assert health.samples == len(ids)
        assert 0 < health.unreadable_samples < len(ids)
        add_samples(saved, run.id, [SampleInput(key="new", query="?")], 1)
