"""`muser view`: samples as pages."""

from typing import TYPE_CHECKING, Annotated

from typer import Argument, BadParameter, Option

from .console import DEFAULT_STORE, print_json, say, stdout
from .options import Json, StoreFile

if TYPE_CHECKING:
    from ..core.comparison import Comparison
    from ..store.database import Store
    from ..viewer.export import Field


def view(
    names: Annotated[
        list[str] | None, Argument(metavar="[RUN|SAMPLE]...", help="What to export: the newest run by default.")
    ] = None,
    export: Annotated[
        str | None, Option("--export", metavar="FILE", help="Write one HTML file that opens without a network.")
    ] = None,
    redact: Annotated[
        str, Option("--redact", metavar="FIELDS", help="Texts to leave out of the file, such as query,reasoning.")
    ] = "",
    force: Annotated[bool, Option("--force", help="Write over a file that exists.")] = False,
    store: StoreFile = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Show samples as pages.

    --export writes a run, or samples, as one file with search and a page for every trace; of two runs also what
    differs between them. Fields that --redact can leave out: persona, query, reasoning, answer, critiques, refinement,
    grades, cause, calls.
    """
    from pathlib import Path

    from ..store.database import Store
    from ..viewer.export import chosen_samples, export_page

    if export is None:
        raise BadParameter("say where to write: --export FILE")
    fields = _fields(redact)
    with Store.open(store, create=False) as opened:
        samples = chosen_samples(opened, names or [])
        done = export_page(
            opened, samples, Path(export), comparison=_compare(opened, names or []), redact=fields, replace=force
        )
    if json:
        print_json(done.model_dump(mode="json"))
        return
    stdout().print(f"{done.samples:,} samples in {done.path}, {done.bytes / 2**20:.1f} MiB", soft_wrap=True)
    if done.left_out:
        say(f"{done.left_out:,} more found no room; name the samples that matter, or leave fields out with --redact")


def _compare(store: "Store", names: "list[str]") -> "Comparison | None":
    """How two runs differ; None where the names are not those of two runs."""
    from ..store.runs import find_run

    if len(names) != 2 or not all(find_run(store, name) for name in names):
        return None
    from ..evals.comparison import compare_runs

    return compare_runs(store, *names)


def _fields(redact: str) -> "list[Field]":
    from ..viewer.export import FIELDS

    given = [word.strip() for word in redact.split(",") if word.strip()]
    fields = [field for field in FIELDS if field in given]
    if unknown := sorted(set(given) - set(fields)):
        raise BadParameter(f"--redact {', '.join(unknown)}: there are {', '.join(FIELDS)}")
    return fields
