"""`muser demo`: the whole graph on simulated models, from attributes and questions to training rows."""

import sys
from typing import TYPE_CHECKING, Annotated

from typer import Exit, Option

from .console import command, say, stdout

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

    from ..core.recipe import Recipe
    from ..graph.progress import Progress, Summary
    from ..store.database import Store

NOTICE = """\
The endpoint of this demo is SIMULATED: no model is asked, replies come from a script.
What follows shows how muser works. Nothing in it is medical advice, or tells how good a model is."""
SAMPLES = 40
LATENCY = 0.2  # seconds for 100 tokens: enough to watch, and done within half a minute


def demo(folder: Annotated[str, Option(metavar="DIR", help="Where its database and rows go.")] = "demo") -> None:
    """Run the whole graph on simulated models; again resumes it."""
    from json import dumps
    from pathlib import Path

    from ..core.loading import load_recipe
    from ..store.database import Store
    from .runs import take_to_end
    from .starting import RECIPES
    from .summaries import exit_code, print_summary

    say(NOTICE)
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    path = str(place / "muser.db")
    inputs = [f"samples={SAMPLES}", "queries=questions.jsonl"]
    recipe = load_recipe(RECIPES / "quickstart.yaml", ["name=demo", *inputs, f"store={dumps(path)}"])
    again = command("demo", *([] if folder == "demo" else ["--folder", folder]))
    with Store.open(path) as store:
        summary = take_to_end(lambda follow, stop: _run_simulated(recipe, store, follow, stop), again)
        print_summary(stdout(), summary, again, path)
        if summary.done:
            _show_results(store, summary, place)
    raise Exit(exit_code(summary))


async def _run_simulated(
    recipe: "Recipe", store: "Store", follow: "Callable[[Progress], None]", stop: "asyncio.Event"
) -> "Summary":
    from ..endpoints.simulated import simulated_endpoint
    from ..graph.run import run_recipe

    async with simulated_endpoint(latency=LATENCY) as url:
        models = {name: model.model_copy(update={"base_url": url}) for name, model in recipe.models.items()}
        return await run_recipe(recipe, store, models=models, on_progress=follow, stop=stop)


def _show_results(store: "Store", summary: "Summary", place: "Path") -> None:
    from ..store.export import export_rows
    from ..store.ledger import calls_of
    from ..store.samples import get_trace
    from .traces import print_trace

    shown = store.read("SELECT key FROM samples WHERE run_id = ? AND status = 'done' LIMIT 1", (summary.run_id,))
    sample = f"{summary.run_id}/{shown[0]['key']}"
    sys.stdout.write(f"\n$ {command('show', sample, store=str(store.path))}\n")
    print_trace(stdout(), get_trace(store, sample), calls_of(store, sample))
    sys.stdout.write("\n")
    for stage in ("distill", "refine"):
        artifact = export_rows(store, summary.run_id, stage, place / f"{summary.run_id}-{stage}.jsonl")
        sys.stdout.write(f"{artifact.meta['rows']} rows of stage {stage} in {artifact.path}\n")
    say(f"\n{NOTICE.splitlines()[0]}\nWith a model of yours: {command('init', '--endpoint', 'URL')}")
