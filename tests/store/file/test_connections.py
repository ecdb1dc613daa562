import os
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from muser.core.errors import DamagedDatabase, ForeignDatabase, StoreBusy, StoreError, StoreFull
from muser.store.file import connections
from muser.store.file.connections import VERSION
from muser.store.file.database import Store
from muser.store.records.runs import Run, create_run, find_run


def content(path: Path) -> list[tuple[str, bytes]]:
    return sorted((file.name, file.read_bytes()) for file in path.parent.iterdir())


def test_a_store_that_is_not_there_is_made_with_its_folders_or_reported(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder with a ?#%" / "muser.db"
    with pytest.raises(StoreError, match="There is no store here"):
        Store.open(path, create=False)
    assert not path.exists()
    Store.open(path).close()
    assert path.exists()


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.touch()
    with Store.open(path) as store:
        assert store.read("SELECT * FROM runs") == []


def test_a_database_of_another_program_is_refused_and_left_as_it_was(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE customers (id INTEGER)")
        other.commit()
    before = content(path)
    with pytest.raises(ForeignDatabase, match="another program") as caught:
        Store.open(path)
    assert "store:" in caught.value.todo
    assert content(path) == before


def test_a_database_that_only_carries_another_programs_mark_is_refused_too(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA application_id = 77")
        other.commit()
    with pytest.raises(ForeignDatabase):
        Store.open(path)


def test_a_store_of_a_newer_muser_is_refused_and_left_as_it_was(store: Store, path: Path) -> None:
    store.close()
    with closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA user_version = {VERSION + 1}")
        newer.commit()
    before = content(path)
    with pytest.raises(ForeignDatabase, match="newer muser") as caught:
        Store.open(path)
    assert "upgrade" in caught.value.todo
    assert content(path) == before


def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(path: Path) -> None:
    path.write_text("name: demo\nmodels: {}\n" * 100)
    before = content(path)
    with pytest.raises(DamagedDatabase):
        Store.open(path)
    assert content(path) == before


def test_a_corrupted_page_is_reported_and_the_rest_stays_readable(store: Store, run: Run, path: Path) -> None:
    page = store.read("SELECT rootpage FROM sqlite_master WHERE name = 'texts'")[0]["rootpage"]
    size = store.read("PRAGMA page_size")[0]["page_size"]
    store.write_now(lambda db: db.execute("INSERT INTO texts VALUES (1, x'00', 'hello', NULL)").rowcount)
    store.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    with Store.open(path) as opened:
        with pytest.raises(DamagedDatabase) as caught:
            opened.read("SELECT * FROM texts")
        assert str(path) in str(caught.value)
        assert find_run(opened, run.id) == run


def test_a_store_locked_beyond_patience_is_busy_and_works_afterwards(
    store: Store, run: Run, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 0.05)
    other = run.model_copy(update={"id": "demo-2"})
    with closing(sqlite3.connect(path)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy, match="Another process"):
            create_run(store, other)
        assert find_run(store, run.id) == run, "readers do not wait"
    create_run(store, other)


def test_those_who_open_a_new_store_at_once_take_turns(path: Path) -> None:
    start = threading.Barrier(8)

    def race(_: int) -> list[dict[str, str]]:
        start.wait()
        with Store.open(path) as store:
            return store.read("PRAGMA journal_mode")

    with ThreadPoolExecutor(8) as racers:
        assert list(racers.map(race, range(8))) == [[{"journal_mode": "wal"}]] * 8


def test_a_store_without_a_write_ahead_log_gets_one(store: Store, run: Run, path: Path) -> None:
    store.close()
    # As `sqlite3` makes them from a dump, or a kill between the making of the tables and of the log.
    with closing(sqlite3.connect(path)) as plain:
        plain.execute("PRAGMA journal_mode = DELETE")
    with Store.open(path) as again:
        assert again.read("PRAGMA journal_mode") == [{"journal_mode": "wal"}]
        assert find_run(again, run.id) == run


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("ALTER TABLE samples RENAME COLUMN status TO state", "table samples was altered"),
        ("ALTER TABLE calls ADD COLUMN note TEXT", "table calls was altered"),
        ("DROP INDEX calls_by_request", "index calls_by_request is missing"),
        ("DROP TRIGGER calls_add_to_usage", "trigger calls_add_to_usage is missing"),
        ("ALTER TABLE grades RENAME TO marks", "table grades is missing"),
    ],
)
def test_a_store_whose_schema_was_altered_is_refused_by_the_objects_name_and_left_unchanged(
    store: Store, path: Path, change: str, said: str
) -> None:
    store.close()
    with closing(sqlite3.connect(path)) as other:
        other.execute(change)
    before = path.read_bytes()
    with pytest.raises(DamagedDatabase, match=said) as caught:
        Store.open(path)
    assert str(path) in str(caught.value)
    assert "muser db check" in caught.value.todo
    assert path.read_bytes() == before


def test_objects_that_other_programs_add_are_no_alteration(store: Store, run: Run, path: Path) -> None:
    store.close()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE INDEX theirs ON calls (model)")
        other.execute("CREATE VIEW done AS SELECT * FROM samples WHERE status = 'done'")
        other.execute("ANALYZE")
    with Store.open(path) as again:
        assert find_run(again, run.id) == run


KILLED_MAKING = """
import os, resource, signal, sys
from pathlib import Path
import muser.store.file.schema
from muser.store.file.database import Store
for limit in (100, 600, 4096, 5000, 20_000, 100_000, 200_000):
    path = Path(sys.argv[1]) / f"{limit}.db"
    if not (pid := os.fork()):
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        Store.open(path)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGXFSZ, limit
    with Store.open(path) as store:
        assert store.read("SELECT count(*) AS n FROM runs") == [{"n": 0}]
        print(limit)
"""


def test_a_store_whose_making_was_killed_in_a_write_is_made_all_the_same(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED_MAKING, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 7


READ_ONLY = """
import os, sys
from muser.core.errors import StoreFull
from muser.store.file.database import Store
from muser.store.records.runs import find_run
from muser.store.records.workers import at_work, release_samples
os.chdir(sys.argv[1])
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
with Store.open("muser.db") as store:
    assert find_run(store, "demo").status == "running"
    try:
        release_samples(store, "demo")
    except StoreFull as error:
        print(error)
    try:
        with at_work(store, "demo"):
            print("at work")
    except StoreFull as error:
        print(error)
"""


def test_a_read_only_store_can_be_read_and_says_so_when_written(store: Store, run: Run, path: Path) -> None:
    store.close()
    # Nobody, whom the child becomes where the tests run as root, must be able to reach the file.
    folder = Path(os.path.realpath(path.parent))
    for place in (folder, *folder.parents):
        if place.stat().st_uid == os.geteuid() and not place.stat().st_mode & 0o001:
            place.chmod(place.stat().st_mode | 0o011)
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        done = subprocess.run([sys.executable, "-c", READ_ONLY, folder], capture_output=True, text=True, check=False)
    finally:
        path.parent.chmod(0o755)
    assert done.stderr == ""
    assert "cannot be written" in done.stdout
    assert "Cannot create a file beside the store" in done.stdout
    assert "at work" not in done.stdout
    assert "rerun the command" in done.stdout


FULL = """
import resource, sys
from muser.core.errors import StoreFull
from muser.store.file.database import Store
from muser.store.file.texts import put_text
with Store.open(sys.argv[1]) as store:
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, unlimited[1]))
    for number in range(10_000):
        text = f"{number} " * 500
        try:
            store.write_now(lambda db: put_text(db, text))
        except StoreFull as error:
            print(error)
            break
        print("wrote", number, flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    store.write_now(lambda db: put_text(db, "after there was room again"))
    print("readable", store.read("SELECT count(*) AS n FROM texts")[0]["n"])
"""


def test_a_full_disk_is_reported_and_everything_that_was_committed_is_kept(store: Store, path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, path], capture_output=True, text=True, check=True)
    wrote = done.stdout.count("wrote")
    assert wrote > 10
    assert "The store cannot be written" in done.stdout
    assert f"readable {wrote + 1}" in done.stdout
    assert store.read("SELECT count(*) AS n FROM texts") == [{"n": wrote + 1}]


def test_what_is_not_the_files_fault_stays_a_bug(store: Store) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        store.read("SELECT * FROM nowhere")
    with pytest.raises(sqlite3.IntegrityError):
        store.write_now(lambda db: db.execute("INSERT INTO artifact_parents VALUES (1, 2)").rowcount)


def test_a_folder_in_the_stores_place_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="a folder, not a store"):
        Store.open(tmp_path)


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreFull, match="The store's folder"):
        Store.open(tmp_path / "file" / "muser.db")
