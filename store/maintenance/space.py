"""A store's size by kind of content, and the two commands that write a fresh file: vacuum and backup."""

import os
from contextlib import closing, suppress
from pathlib import Path

from ...core.errors import InputError, RunBusy, StoreFull
from ...core.files import open_private
from ...core.types import Value
from ..file.connections import connect, connect_reader, translated
from ..file.database import Store
from ..records.workers import workers_of

PARTS = {
    "results": ("runs", "samples", "critiques", "grades", "rubric_items", "usage", "artifacts", "artifact_samples"),
    "texts": ("texts",),
    "search": ("unsearched", *(f"texts_search_{part}" for part in ("config", "data", "docsize", "idx"))),
    "calls": ("calls",),
    "attributes": ("attribute_values", "sample_attributes"),
    "similar": ("sketched_runs", "sketches", "sketched_draws", "sketch_buckets"),
    "steps": ("threads", "checkpoints", "checkpoint_values", "writes"),
}
"""Tables by kind of content; `steps` is what `prune` can drop."""


class Space(Value):
    """Bytes of the file, its log and its tables with their indexes, and how many rows of each kind there are.

    `tables` is empty if SQLite was built without its dbstat table (sqlite.org/dbstat.html).
    """

    file: int
    log: int
    free: int
    tables: dict[str, int]
    rows: dict[str, int]
    done: int
    pruned: int

    def part(self, name: str) -> int:
        """Bytes of one of PARTS."""
        return sum(self.tables.get(table, 0) for table in PARTS[name])

    @property
    def per_sample(self) -> float | None:
        """KiB per finished sample, without free pages."""
        return (self.file - self.free) / self.done / 1024 if self.done else None


def measure(store: Store) -> Space:
    """Measure the store. dbstat reads every page, which takes seconds for a file of gigabytes."""
    with store.reader() as db:
        built = "ENABLE_DBSTAT_VTAB" in {row[0] for row in db.execute("PRAGMA compile_options")}
        tables = dict(tuple(row) for row in db.execute(TABLES)) if built else {}
        rows = {
            name: db.execute(f"SELECT count(*) FROM {name}").fetchone()[0]  # noqa: S608
            for name in ("runs", "samples", "calls", "checkpoints", "texts")
        }
        done, pruned = db.execute(DONE).fetchone()
        page = db.execute("PRAGMA page_size").fetchone()[0]
        free = db.execute("PRAGMA freelist_count").fetchone()[0] * page
    log = store.path.with_name(store.path.name + "-wal")
    return Space(
        file=store.path.stat().st_size,
        log=log.stat().st_size if log.exists() else 0,
        free=free,
        tables=tables,
        rows=rows,
        done=done,
        pruned=pruned,
    )


TABLES = """
    SELECT coalesce(tbl_name, dbstat.name), sum(pgsize) FROM dbstat LEFT JOIN sqlite_master USING (name)
    WHERE aggregate = 1 GROUP BY 1 ORDER BY 2 DESC, 1"""
DONE = "SELECT count(*), count(pruned_at) FROM samples WHERE status = 'done'"


def vacuum(store: Store) -> tuple[int, int]:
    """Rebuild the file without its free pages; returns its size before and after.

    Meanwhile it may need twice the file's size on disk. Raises RunBusy if a run is active, StoreFull, StoreBusy.
    """
    if busy := workers_of(store):
        raise RunBusy(
            f"Run {busy[0].run_id} is already running in process {busy[0].pid}.",
            where=str(store.path),
            todo="stop it with `kill`, or wait for it",
        )
    with translated(store.path), closing(connect(store.path)) as db:
        # In WAL mode commits stay in the log until a checkpoint copies them into the file (sqlite.org/wal.html), so
        # without one before and after, the two sizes would not be those of the whole store.
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before = store.path.stat().st_size
        # VACUUM copies the whole database (sqlite.org/lang_vacuum.html). auto_vacuum would make it unnecessary, but
        # would move pages at each commit of a run.
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return before, store.path.stat().st_size


def back_up(store: Store, target: Path) -> int:
    """Copy a snapshot of the store, even while runs write to it; returns the copy's size. Never overwrites a file."""
    if target.exists():
        raise InputError("There is already a file of this name.", where=str(target), todo="give another name")
    partial = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        open_private(partial, "xb").close()
        _copy(store.path, partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.rename(target)
    except OSError as error:
        raise StoreFull(f"The copy cannot be written: {error.strerror}.", where=str(target)) from error
    finally:
        for name in (partial.name, f"{partial.name}-wal", f"{partial.name}-shm"):
            with suppress(OSError):
                partial.with_name(name).unlink()
    return target.stat().st_size


def _copy(path: Path, target: Path) -> None:
    with translated(path), closing(connect_reader(path)) as source, closing(connect(target)) as copy:
        # All pages in one step: between steps a write by another connection would restart the copy
        # (sqlite.org/backup.html), and in WAL mode a long read does not block writers.
        source.backup(copy, pages=-1)
