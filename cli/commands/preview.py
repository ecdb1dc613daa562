"""`muser preview`: a recipe's first samples, taken through the real graph and shown before the run."""

from typing import TYPE_CHECKING, Annotated

from typer import Exit, Option

from ..options import Json, RecipeFile, RecipeStore, Set
from ..printing.console import command, print_json, say, stdout

if TYPE_CHECKING:
    from ...graph.progress import Summary
    from ...store.file.database import Store


def preview(
    recipe: RecipeFile,
    *,
    count: Annotated[int, Option("-n", "--samples", min=1, metavar="N", help="Number of samples.")] = 3,
    change: Set = None,
    store: RecipeStore = None,
    json: Json = False,
) -> None:
    """Run a recipe's first samples and show them.

    They are the samples that the run starts with, stored in a run of their own, NAME-preview. The run itself reuses
    their calls as long as the requests are unchanged.
    """
    from functools import partial
    from json import dumps

    from ...core.loading import load_recipe
    from ...graph.run import preview_recipe
    from ...store.file.database import Store
    from ..printing.summaries import exit_code
    from .run import serve_and_run, take_to_end

    flags = [] if store is None else [f"store={dumps(store)}"]
    settings = load_recipe(recipe, [*(change or []), *flags], needs=["inputs"])
    words = [word for each in change or [] for word in ("--set", each)]
    words += [] if store is None else ["--store", store]
    again = command("preview", recipe, "-n", str(count), *words)
    with Store.open(settings.store) as opened:
        act = partial(preview_recipe, count=count)
        summary = take_to_end(serve_and_run(act, settings, opened, settings.call_roles()), again)
        _show(opened, summary, count, json)
    if summary.pending:
        say(f"not all samples are done; resume with: {again}")
        say(summary.stop_cause)
    else:
        say(f"the run starts with these samples and reuses their calls: {command('run', recipe, *words)}")
    raise Exit(exit_code(summary))


def _show(store: "Store", summary: "Summary", count: int, json: bool) -> None:
    from ...store.queries.listing import list_samples
    from ...store.records.ledger import calls_of
    from ...store.records.samples import get_trace
    from ..printing.traces import print_trace

    ids = [line.id for line in list_samples(store, summary.run_id, limit=count).samples]
    found = [(get_trace(store, i), calls_of(store, i)) for i in ids]
    if json:
        from ..outputs import SampleWithCalls

        shown = [SampleWithCalls(**vars(trace), calls=tuple(calls)) for trace, calls in found]
        print_json([sample.model_dump(mode="json") for sample in shown])
        return
    for trace, calls in found:
        print_trace(stdout(), trace, calls)
        stdout().print()
