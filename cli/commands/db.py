"""Commands that maintain the database: `db stats`, `check`, `datasette`, `prune`, `vacuum`, `backup`."""

from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option, Typer

from ..options import Json, StoreFile
from ..printing.console import DEFAULT_STORE, command, print_json, stdout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...store.maintenance.health import Health
    from ...store.maintenance.space import Space

app = Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Maintain the database: size, integrity, cleanup, backup."
)


@app.command()
def stats(store: StoreFile = DEFAULT_STORE, json: Json = False) -> None:
    """Show the size of the database and what takes up the space."""
    from ...store.file.database import Store
    from ...store.maintenance.space import PARTS, measure

    with Store.open(store, create=False) as opened:
        space = measure(opened)
    if json:
        from ..outputs import StoreSize

        parts = {name: space.part(name) for name in PARTS}
        size = StoreSize(**vars(space), parts=parts, kib_per_sample=space.per_sample)
        print_json(size.model_dump(mode="json"))
        return
    from rich.text import Text

    from ..printing.layout import columns

    console = stdout()
    console.print(f"{store}: {size_of(space.file)}" + f", log {size_of(space.log)}" * bool(space.log), soft_wrap=True)
    for line in columns(console, ("what",), ("size", "rows"), [list(map(Text, cells)) for cells in _size_rows(space)]):
        console.print(line)
    if space.per_sample is not None:
        console.print(f"\n{space.per_sample:.1f} KiB per sample ({space.done:,} finished)", highlight=False)
    if space.done > space.pruned and space.part("steps"):
        again = command("db", "prune", store=store)
        console.print(f"drop the steps of samples that you will not replay: {again}", soft_wrap=True)
    if space.free > space.file // 10:
        again = command("db", "vacuum", store=store)
        console.print(f"return free pages to the disk: {again}", soft_wrap=True)


@app.command()
def check(store: StoreFile = DEFAULT_STORE, json: Json = False) -> None:
    """Check the whole database and list what is corrupted; exits with 1 if anything is."""
    from ...store.file.database import Store
    from ...store.maintenance.health import check_store

    with Store.open(store, create=False, altered=True) as opened:
        health = check_store(opened)
    if json:
        from ..outputs import StoreCheck

        print_json(StoreCheck(**vars(health), sound=health.is_sound).model_dump(mode="json"))
    else:
        for line in _health_lines(health, store):
            stdout().print(line, soft_wrap=True)
    raise Exit(0 if health.is_sound else 1)


@app.command()
def datasette(store: StoreFile = DEFAULT_STORE) -> None:
    """Print Datasette metadata for the database: facets, column descriptions, queries.

    Use: muser db datasette > metadata.yaml, then datasette muser.db --metadata metadata.yaml
    """
    from importlib.resources import files
    from json import dumps
    from pathlib import Path

    text = files("muser.store.queries").joinpath("datasette.yaml").read_text(encoding="utf-8")
    stdout().file.write(text.replace("\n  muser:\n", f"\n  {dumps(Path(store).stem)}:\n"))


@app.command()
def prune(
    keep: Annotated[
        list[str] | None,
        Option("--keep", metavar="NAME", help="Run or sample (RUN/KEY) that keeps its steps. Repeatable."),
    ] = None,
    store: StoreFile = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Drop the step history of finished samples.

    Their results and calls stay: they can be shown, exported and counted as before, but no longer replayed.
    """
    from ...store.file.database import Store
    from ...store.records.history import prune as prune_history

    with Store.open(store, create=False) as opened:
        pruned = prune_history(opened, keep or [])
    if json:
        print_json(pruned.model_dump(mode="json"))
        return
    left = "texts were not checked, because a run is active"
    texts = left if pruned.texts is None else f"{pruned.texts:,} unreferenced texts"
    stdout().print(f"dropped: the steps of {pruned.samples:,} samples; {texts}", soft_wrap=True)
    stdout().print(f"return the space to the disk with: {command('db', 'vacuum', store=store)}", soft_wrap=True)


@app.command()
def vacuum(store: StoreFile = DEFAULT_STORE, json: Json = False) -> None:
    """Return free pages to the disk. Needs space for a second copy meanwhile; no run may be active."""
    from ...store.file.database import Store
    from ...store.maintenance.space import vacuum as rewrite

    with Store.open(store, create=False) as opened:
        before, after = rewrite(opened)
    if json:
        from ..outputs import Vacuumed

        print_json(Vacuumed(before=before, after=after).model_dump(mode="json"))
    else:
        stdout().print(f"{store}: {size_of(before)} before, {size_of(after)} after", soft_wrap=True)


@app.command()
def backup(
    file: Annotated[str, Argument(metavar="FILE", help="File to write; it must not exist.")],
    store: StoreFile = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Write a consistent copy of the database, even while a run is active."""
    from pathlib import Path

    from ...store.file.database import Store
    from ...store.maintenance.space import back_up

    with Store.open(store, create=False) as opened:
        size = back_up(opened, Path(file))
    if json:
        from ..outputs import BackedUp

        print_json(BackedUp(file=file, bytes=size).model_dump(mode="json"))
    else:
        stdout().print(f"{store} copied to {file}: {size_of(size)}", soft_wrap=True)


def size_of(count: int) -> str:
    """Bytes in a readable unit."""
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def _size_rows(space: "Space") -> "Iterator[tuple[str, str, str]]":
    from ...store.maintenance.space import PARTS

    kinds = {"results": "samples", "texts": "texts", "calls": "calls", "steps": "checkpoints"}
    for part, tables in PARTS.items():
        rows = f"{space.rows[kinds[part]]:,} {kinds[part]}" if part in kinds else ""
        yield part, size_of(space.part(part)) if space.tables else "", rows
        for table in tables:
            if table in space.tables and len(tables) > 1:
                yield f"  {table}", size_of(space.tables[table]), ""
    yield "free pages", size_of(space.free), ""


def _health_lines(health: "Health", store: str) -> "Iterator[str]":
    if health.is_sound:
        yield f"{store}: intact, {health.samples:,} samples"
        return
    yield f"{store}: corrupted"
    for table, complaints in health.corrupted.items():
        yield f"  {table}"
        yield from (f"    {complaint}" for complaint in complaints)
    yield from (f"  {broken}" for broken in health.broken)
    more = health.unreadable_samples - len(health.unreadable)
    if health.unreadable:
        names = ", ".join(health.unreadable) + (f" and {more:,} more" if more else "")
        yield f"{health.unreadable_samples:,} of {health.samples:,} samples cannot be read completely: {names}"
    else:
        yield f"all {health.samples:,} samples can be read"
    yield "restore a copy made with `muser db backup`; docs/storage.md says how to save what is still readable"
