"""`muser list`: samples, filtered, searched and sorted, one per line."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from ..options import Json, Search, Sort, StoreFile, Where
from ..printing.console import DEFAULT_STORE, command, print_json, say, stdout

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from ...store.queries.listing import Listing, SampleLine

LONGEST = 60  # columns of a name
NARROWEST = 8  # columns of a query


def list_samples(
    run: Annotated[str | None, Argument(metavar="RUN", help="Name of a run; default: all runs.")] = None,
    *,
    where: Where = "",
    search: Search = "",
    sort: Sort = "",
    limit: Annotated[int, Option(min=0, metavar="N", help="Samples to list.")] = 25,
    offset: Annotated[int, Option(min=0, metavar="N", help="Samples to skip first.")] = 0,
    store: StoreFile = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """List samples, filtered, searched and sorted.

    A filter compares names with values by = != < <= > >= and ~ (contains: part of a value, words of a text), combined
    with and, or, not and parentheses. Names: status key score seconds rounds tries tokens cause node verdict.CRITIC run
    origin started finished pruned, the personas' attributes, and the texts query response refinement, or text for any
    of them. `has NAME` matches samples that have one. For example:

    --where 'verdict.safety=revise and tokens>2000 and not text~"chest pain"'
    """
    from ...store.file.database import Store
    from ...store.queries.listing import list_samples as read
    from ..loading import named_run

    with Store.open(store, create=False) as opened:
        run_id = named_run(opened, run).id if run else None
        listing = read(opened, run_id, where, sort, search, limit, offset, on_indexed=tell_indexed())
    if json:
        print_json(listing.model_dump(mode="json"))
        return
    print_listing(stdout(), listing, whole=not run)
    ended = offset + len(listing.samples)
    typed = {"where": where, "search": search, "sort": sort, "limit": str(limit) if limit != 25 else ""}
    words = ("list", *([run] if run else []), *(word for k, v in typed.items() if v for word in (f"--{k}", v)))
    more = command(*words, "--offset", str(ended), store=store)
    say(f"{len(listing.samples):,} of {listing.total:,} samples" + f"; next page: {more}" * (ended < listing.total))


def print_listing(console: "Console", listing: "Listing", *, whole: bool = False) -> None:
    """One line per sample; `whole` shows its run too."""
    from rich.text import Text

    from ..printing.layout import GAP, columns
    from ..printing.text import one_line
    from ..printing.traces import VERDICTS

    spoke = {critic for line in listing.samples for critic in line.verdicts}
    critics = [critic for critic in listing.critics if critic in spoke]
    scored = any(line.score is not None for line in listing.samples)

    def verdicts(line: "SampleLine") -> Text:
        return Text.assemble(*(VERDICTS[line.verdicts[c]] if c in line.verdicts else "·" for c in critics))

    cells = [
        [
            Text(one_line(line.id if whole else line.key, LONGEST)),
            _status(line),
            *([verdicts(line)] if critics else []),
            *([Text("-" if line.score is None else f"{line.score:.3g}")] if scored else []),
            Text(f"{line.tokens:,}"),
            Text("-" if line.seconds is None else f"{line.seconds:.1f}"),
        ]
        for line in listing.samples
    ]
    left = ["sample", "status", *(["critics"] if critics else [])]
    right = [*(["score"] if scored else []), "tokens", "s"]
    names = [Text(name) for name in (*left, *right)]
    taken = sum(max(cell.cell_len for cell in column) + GAP for column in zip(names, *cells, strict=True))
    # Truncate the query rather than the name, which people copy.
    room = max(console.width - taken, NARROWEST)
    rows = [
        [*row[: len(left)], Text(one_line(line.query or "", room)), *row[len(left) :]]
        for row, line in zip(cells, listing.samples, strict=True)
    ]
    for row in columns(console, [*left, "query"], right, rows) if rows else ():
        console.print(row)
    if simulated := sum(line.simulated for line in listing.samples):
        console.print(Text(f"simulated (a script replied, not a model): {simulated:,}", style="dim"))
    if critics:
        console.print(Text(f"critics: {', '.join(critics)} (✓ pass, ✎ revise, · no verdict yet)", style="dim"))


def _status(line: "SampleLine") -> "Text":
    from rich.text import Text

    from ..printing.traces import STATUSES

    if line.status != "failed":
        return Text(line.status, style=STATUSES[line.status])
    cause = (line.cause_kind or "").rpartition(".")[2] or "failed"
    return Text(f"{line.failed_node}: {cause}" if line.failed_node else cause, style="red")


def tell_indexed() -> Callable[[int, int], None]:
    """A callback that reports every few seconds how far indexing is and how long it will take."""
    from ..printing.progress import telling

    return telling("indexing texts for search", "samples")
