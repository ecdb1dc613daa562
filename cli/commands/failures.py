"""`muser eval failures`: where an evaluation lost points."""

from typing import TYPE_CHECKING, Annotated

from typer import Option

from ..options import Json, RunName, StoreFile
from ..printing.console import DEFAULT_STORE, print_json, stdout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from ...store.queries.losses import Losses


def failures(
    run: RunName,
    *,
    against: Annotated[
        str | None, Option(metavar="RUN", help="List the examples that got worse since this run of the same benchmark.")
    ] = None,
    shown: Annotated[int, Option("--show", min=1, metavar="N", help="Lines of each list.")] = 10,
    store: StoreFile = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Show where an evaluation lost points: by axis and theme, the costliest criteria, the worst examples."""
    from ...store.file.database import Store
    from ...store.queries.losses import find_losses
    from ..loading import named_run

    with Store.open(store, create=False) as opened:
        for name in (run, *([against] if against else [])):
            named_run(opened, name)
        found = find_losses(opened, run, against=against, shown=shown)
    if json:
        print_json(found.model_dump(mode="json"))
        return
    _print(stdout(), found)


def _print(console: "Console", found: "Losses") -> None:
    from rich.text import Text

    from ..printing.layout import columns, paragraph

    def table(name: str, numbers: tuple[str, ...], rows: "Sequence[Sequence[str]]") -> None:
        cells = [[Text(cell) for cell in row] for row in rows]
        for line in columns(console, (name,), numbers, cells):
            console.print(line)
        console.print()

    if found.score is None:
        console.print("no example was judged completely")
        return
    console.print(f"{found.examples:,} examples, mean score {100 * found.score:.1f}; points of it lost by:")
    rows = [(one.tag, f"{one.items:,}", f"{one.missed:,}", f"{one.lost:.1f}") for one in found.tags]
    table("axis or theme", ("items", "missed", "lost"), rows)
    console.print("costliest criteria:")
    for one in found.criteria:
        said = (
            f"−{one.lost:.1f} [{one.points:g}] {one.axis}, missed in {one.missed:,} of {one.items:,}: {one.criterion}"
        )
        for line in paragraph(console, Text(f"{said} ({one.example})"), by=2):
            console.print(line)
    console.print()
    console.print(f"worse than in {found.against}:" if found.against else "worst examples:")
    for example in found.worst:
        was = "" if example.before is None else f"{100 * example.before:.1f} → "
        told = f"{was}{100 * example.score:.1f} {example.sample}: {example.query}"
        for line in paragraph(console, Text(told), by=2):
            console.print(line)
    if found.not_judged:
        console.print(f"{len(found.not_judged):,} examples have items without a verdict, such as {found.not_judged[0]}")
