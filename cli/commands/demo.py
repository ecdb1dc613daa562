"""`muser demo`: the whole method on one machine, with simulated models and a tiny student that is really trained."""

from typing import TYPE_CHECKING, Annotated

from typer import Exit, Option

from ..printing.console import command, say, stdout

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from ...core.recipe import Recipe
    from ...graph.progress import Progress, Summary
    from ...pipeline.run import PipelineResult
    from ...store.file.database import Store

NOTICE = """\
The teacher, critics, refiner and judge of this demo are SIMULATED: replies come from a script, not from a model.
The student is tiny, but really trained and served. Nothing here is medical advice or says how good a model is."""


def demo(folder: Annotated[str, Option(metavar="DIR", help="Folder for everything the demo writes.")] = "demo") -> None:
    """Train a tiny student in both stages, with simulated models. Rerun it to resume.

    Simulates queries and the teacher's responses, trains, critiques and refines, trains again, and scores every stage
    on personas that training never saw. Then it takes twenty questions through the same graph. Needs the training
    libraries.
    """
    from pathlib import Path

    from ...core.loading import load_recipe
    from ...pipeline.demo import prepare_demo
    from ...store.file.database import Store
    from .pipeline import print_result, result_code, run_shown

    say(NOTICE)
    again = command("demo", *([] if folder == "demo" else ["--folder", folder]))
    settings = load_recipe(prepare_demo(Path(folder)), needs=["inputs", "critics", "training", "evaluation"])
    with Store.open(settings.store) as store:
        result = run_shown(settings, store, again=again, opening=_simulated)
        print_result(result, settings.store, again)
        if not result.stopped_at:
            _ask_questions(store, settings, again)
            _show_more(store, result, Path(folder))
    raise Exit(result_code(result))


async def _simulated(recipe: "Recipe") -> "AsyncIterator[Recipe]":
    """The recipe with the address of a simulated endpoint that runs until the generator is closed.

    It takes the port of `muser simulate` if that is free, so that the samples can be replayed with that command.
    """
    from contextlib import AsyncExitStack

    from ...core.errors import ServerError
    from ...endpoints.simulated.server import simulated_endpoint
    from .simulate import PASSING, PORT

    async with AsyncExitStack() as stack:
        try:
            url = await stack.enter_async_context(simulated_endpoint(port=PORT, passing=PASSING))
        except ServerError:
            url = await stack.enter_async_context(simulated_endpoint(passing=PASSING))
        models = {
            name: model.model_copy(update={"base_url": url}) if model.base_url else model
            for name, model in recipe.models.items()
        }
        yield recipe.model_copy(update={"models": models})


def _ask_questions(store: "Store", settings: "Recipe", again: str) -> None:
    """The twenty questions that ship with muser, through the same graph."""
    from contextlib import asynccontextmanager

    from ...graph.run import run_recipe
    from ...pipeline.demo import QUESTIONS
    from .run import take_to_end

    asked = settings.model_copy(update={"name": f"{settings.name}-questions", "samples": 0, "queries": QUESTIONS})

    async def work(follow: "Callable[[Progress], None]", stop: "asyncio.Event") -> "Summary":
        async with asynccontextmanager(_simulated)(asked) as recipe:
            return await run_recipe(recipe, store, on_progress=follow, stop=stop)

    say("twenty questions through the same graph")
    take_to_end(work, again)


def _show_more(store: "Store", result: "PipelineResult", folder: "Path") -> None:
    """One persona's answer at every stage, one refined sample in full, and commands to continue with."""
    from ...pipeline.demo import KNOWLEDGE
    from ...store.records.ledger import calls_of
    from ...store.records.samples import get_trace
    from ..printing.traces import print_trace

    out, path = stdout(), str(store.path)
    runs = {step.name: step.result for step in result.steps}
    first = store.read("SELECT key FROM samples WHERE run_id = ? AND status = 'done' LIMIT 1", (runs["refine.run"],))
    sample = f"{runs['refine.run']}/{first[0]['key']}"
    out.print(f"\n$ {command('show', sample, store=path)}", soft_wrap=True)
    print_trace(out, get_trace(store, sample), calls_of(store, sample))
    evaluations = [run for step, run in runs.items() if step.startswith("eval.")]
    asked = store.read("SELECT key FROM samples WHERE run_id = ? ORDER BY id LIMIT 1", (evaluations[0],))[0]["key"]
    out.print(f"\nThe student's answers to a persona new to it: {get_trace(store, f'{evaluations[0]}/{asked}').query}")
    for run in evaluations:
        answer = get_trace(store, f"{run}/{asked}").response
        out.print(f"\n{run.rpartition('-')[2]}: {_shortened(answer.answer if answer else '')}")
    out.print("\nnext steps")
    for line in (
        command("pipeline", str(folder / "recipe.yaml"), "--plan"),
        command("runs", store=path),
        command("show", f"{evaluations[-1]}/{asked}", "--reasoning", store=path),
        command("eval", "score", evaluations[-1], "--against", evaluations[0], store=path),
    ):
        out.print(f"    {line}", soft_wrap=True)
    out.print(f"The simulated models' knowledge: {KNOWLEDGE}", soft_wrap=True)


def _shortened(text: str) -> str:
    from ..printing.text import one_line

    return one_line(text, 400) or "(nothing)"
