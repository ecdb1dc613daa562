"""`muser view`: samples as pages."""

from typing import TYPE_CHECKING, Annotated

from typer import Argument, BadParameter, Option

from ..options import Json, Set, StoreFile
from ..printing.console import DEFAULT_STORE, print_json, say, stdout

if TYPE_CHECKING:
    from ...core.comparison import Comparison
    from ...store.file.database import Store
    from ...viewer.redaction import Field


def view(
    names: Annotated[
        list[str] | None, Argument(metavar="[RUN|SAMPLE]...", help="What to export; default: the newest run.")
    ] = None,
    export: Annotated[
        str | None, Option("--export", metavar="FILE", help="Write one HTML file that opens offline.")
    ] = None,
    redact: Annotated[
        str, Option("--redact", metavar="FIELDS", help="Texts to leave out of the file: query,reasoning.")
    ] = "",
    *,
    force: Annotated[bool, Option("--force", help="Overwrite an existing file.")] = False,
    port: Annotated[int, Option(min=0, max=65535, help="Port; 0 picks a free one.")] = 8321,
    host: Annotated[
        str,
        Option(help="Address to listen on; any other than this machine's own exposes the whole store to the network."),
    ] = "127.0.0.1",
    browser: Annotated[bool, Option("--browser/--no-browser", help="Open a browser.")] = True,
    read_only: Annotated[bool, Option("--read-only", help="Turn off replays from the pages.")] = False,
    most_calls: Annotated[int, Option("--max-calls", min=1, help="Limit of calls for replays from the pages.")] = 200,
    change: Set = None,
    store: StoreFile = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Show runs and samples in a browser or one HTML file.

    The pages update while a run is active, and can replay a sample with another prompt or model. --set overrides
    settings of those replays, for example --set models.main.base_url=URL. --export writes runs or samples to one file,
    with search and a page for every trace; for two runs it adds a comparison. --redact leaves out any of persona,
    query, reasoning, answer, critiques, refinement, grades, cause, calls.
    """
    from pathlib import Path

    from ...store.file.database import Store
    from ...viewer.export import chosen_samples, export_page

    if export is None:
        from .viewer_server import serve_pages

        if names or redact or force or json:
            raise BadParameter("names, --redact, --force and --json go with --export FILE")
        with Store.open(store, create=False) as opened:
            calls = 0 if read_only else most_calls
            serve_pages(opened, host=host, port=port, browser=browser, most_calls=calls, changes=change or [])
        return
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
        say(f"{done.left_out:,} more did not fit; name the samples to export, or leave out fields with --redact")


def _compare(store: "Store", names: "list[str]") -> "Comparison | None":
    """How two runs differ; None unless the names are exactly two runs."""
    from ...store.records.runs import find_run

    if len(names) != 2 or not all(find_run(store, name) for name in names):
        return None
    from ...evals.comparison import compare_runs

    return compare_runs(store, *names)


def _fields(redact: str) -> "list[Field]":
    from ...viewer.redaction import FIELDS

    given = [word.strip() for word in redact.split(",") if word.strip()]
    fields = [field for field in FIELDS if field in given]
    if unknown := sorted(set(given) - set(fields)):
        raise BadParameter(f"--redact {', '.join(unknown)}: available: {', '.join(FIELDS)}")
    return fields
