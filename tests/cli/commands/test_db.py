"""`muser db` as one types it, on the store of a real run."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from muser.store.file.connections import VERSION
from muser.store.file.database import Store

from ..conftest import Muser, write_recipe


@pytest.fixture
def ran(muser: Muser, recipe: Path) -> Muser:
    """The command line after a run of four samples."""
    muser("run", recipe)
    return muser


def test_stats_say_what_takes_the_room_and_what_to_do_about_it(ran: Muser) -> None:
    ended = ran("db", "stats")
    assert ended.code == 0
    assert re.match(r"muser\.db: [\d.]+ (KiB|MiB)", ended.out)
    assert re.search(r"^calls +[\d.]+ KiB +18 calls$", ended.out, re.MULTILINE)
    assert re.search(r"^steps +[\d.]+ KiB +\d+ checkpoints$", ended.out, re.MULTILINE)
    assert re.search(r"^[\d.]+ KiB per sample \(4 finished\)$", ended.out, re.MULTILINE)
    assert "muser db prune" in ended.out
    assert max(len(line) for line in ended.out.splitlines()) <= 80
    told = ran("db", "stats", "--json").json()
    assert (told["rows"]["calls"], told["done"], told["pruned"]) == (18, 4, 0)
    assert told["parts"]["steps"] > 0


def test_a_pruned_sample_is_shown_and_exported_as_before_and_says_so(ran: Muser) -> None:
    before = ran("show", "s000001", "--json").json()
    ran("export", "small", "--stage", "refine", "--out", "before.jsonl")
    ended = ran("db", "prune", "--keep", "small/s000002")
    assert "dropped: the steps of 3 samples; 0 unreferenced texts" in ended.out
    assert "    it cannot be replayed" not in ran("show", "s000002").out
    assert re.search(
        r"its checkpoints were pruned on \d{4}-\d\d-\d\d; it cannot be replayed", ran("show", "s000001").out
    )
    after = ran("show", "s000001", "--json").json()
    assert after.pop("pruned_at")
    assert before.pop("pruned_at") is None
    assert after == before
    ran("export", "small", "--stage", "refine", "--out", "after.jsonl")
    assert Path("after.jsonl").read_text() == Path("before.jsonl").read_text()
    assert ran("run", "small.yaml", "--json").json()["done"] == 4
    assert ran("db", "stats", "--json").json()["pruned"] == 3


def test_pruned_room_goes_back_to_the_disk_with_vacuum(ran: Muser) -> None:
    assert ran("db", "prune", "--json").json() == {"samples": 4, "texts": 0}
    ended = ran("db", "vacuum", "--json").json()
    assert ended["after"] < ended["before"]
    assert ran("db", "check").out == "muser.db: intact, 4 samples\n"
    assert re.fullmatch(r"muser\.db: [\d.]+ \w+ before, [\d.]+ \w+ after\n", ran("db", "vacuum").out)


def test_a_backup_is_a_store_of_its_own(ran: Muser) -> None:
    assert re.fullmatch(r"muser\.db copied to copy\.db: [\d.]+ \w+\n", ran("db", "backup", "copy.db").out)
    assert ran("runs", "--store", "copy.db", "--json").json() == ran("runs", "--json").json()
    again = ran("db", "backup", "copy.db", "--json")
    assert again.code == 1
    assert "a file of this name" in again.err


def test_check_says_what_is_corrupted_and_what_to_do_and_exits_with_1(ran: Muser) -> None:
    with Store.open("muser.db") as store:
        page = store.read("SELECT rootpage AS n FROM sqlite_master WHERE name = 'calls'")[0]["n"]
        size = store.read("PRAGMA page_size")[0]["page_size"]
    with Path("muser.db").open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)
    ended = ran("db", "check")
    assert ended.code == 1
    assert ended.out.startswith("muser.db: corrupted\n")
    assert "  calls\n" in ended.out
    assert "4 of 4 samples cannot be read completely: small/q000001" in ended.out
    assert "docs/storage.md" in ended.out
    told = ran("db", "check", "--json")
    assert (told.code, told.json()["sound"], list(told.json()["corrupted"])) == (1, False, ["calls"])
    shown = ran("show", "s000001")
    assert shown.code == 1
    assert "run `muser db check` to see what is corrupted" in shown.err
    assert "Traceback" not in shown.err
    assert ran("runs").code == 0, "what is whole can still be read"


def test_a_recipe_can_have_its_history_dropped_as_it_goes(muser: Muser, tmp_path: Path, simulated: str) -> None:
    recipe = write_recipe(tmp_path, simulated, extra="history: drop\n")
    assert muser("run", recipe).code == 0
    told = muser("db", "stats", "--json").json()
    assert (told["done"], told["pruned"], told["rows"]["checkpoints"]) == (4, 4, 0)
    assert muser("db", "check").code == 0
    kept = muser("run", recipe, "--set", "history=keep", "--samples", 3)
    assert kept.code == 0, "how long steps are kept is no part of a run's identity"
    assert muser("db", "stats", "--json").json()["pruned"] == 4


@pytest.mark.parametrize("pragma", ["application_id = 77", f"user_version = {VERSION + 1}"])
def test_a_foreign_or_newer_database_is_refused_by_every_command_and_left_as_it_was(ran: Muser, pragma: str) -> None:
    with closing(sqlite3.connect("muser.db")) as other:
        other.execute(f"PRAGMA {pragma}")
    before = Path("muser.db").read_bytes()
    commands = (
        ["run", "small.yaml"], ["retry", "small", "--failed"], ["runs"], ["show", "s000001"],
        ["export", "small", "--stage", "refine", "--out", "rows.jsonl"],
        *(["db", what] for what in ("stats", "check", "prune", "vacuum")), ["db", "backup", "copy.db"],
    )  # fmt: skip
    for words in commands:
        ended = ran(*words)
        assert ended.code == 1
        assert ("another program" if "77" in pragma else "newer muser") in ended.err
        assert "Traceback" not in ended.err
    assert Path("muser.db").read_bytes() == before
    assert sorted(path.name for path in Path().iterdir()) == ["muser.db", "questions.jsonl", "small.yaml"]


@pytest.mark.parametrize("what", ["stats", "check", "prune", "vacuum"])
def test_no_command_makes_a_store(muser: Muser, what: str, tmp_path: Path) -> None:
    ended = muser("db", what)
    assert ended.code == 1
    assert "There is no store here" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_what_is_to_be_kept_must_exist(ran: Muser) -> None:
    ended = ran("db", "prune", "--keep", "small/s9")
    assert ended.code == 1
    assert "no run or sample 'small/s9' to keep" in ended.err
    assert ran("db", "stats", "--json").json()["pruned"] == 0


def test_every_command_reports_a_renamed_column_and_check_still_opens_the_store(ran: Muser) -> None:
    with closing(sqlite3.connect("muser.db")) as other:
        other.execute("ALTER TABLE samples RENAME COLUMN status TO state")
    for words in (["runs"], ["list"], ["show", "s000001"], ["db", "prune"], ["run", "small.yaml"]):
        ended = ran(*words)
        assert (ended.code, ended.out) == (1, ""), words
        assert "table samples was altered" in ended.err, words
        assert "muser db check" in ended.err, words
    ended = ran("db", "check")
    assert ended.code == 1
    assert "table samples was altered" in ended.out
