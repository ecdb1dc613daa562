"""`muser demo`: the whole method on one machine, with simulated models and a tiny student that is really trained."""

from typing import TYPE_CHECKING, Annotated

from typer import Exit, Option

from ..printing.console import command, say, stdout

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from rich.console import Console

    from ...core.recipe import Recipe
    from ...graph.progress import Progress, Summary
    from ...pipeline.run import PipelineResult
    from ...store.file.database import Store

NOTICE = """\
The teacher, critics, refiner and judge of this demo are SIMULATED: replies come from a script, not from a model.
The student is tiny, but really trained and served. Nothing here is medical advice or says how good a model is."""


REAL_NOTICE = """\
Every reply of this demo is written by a real model, SmolLM2-135M-Instruct, also as its own critic and judge. The
answers that it is trained on are SIMULATED: muser's script wrote them. A model of 135 million weights is medically
worthless: what is shown is that every part works on a real model and real data. Nothing here is medical advice, and no
score here says how good MuSeR is."""


def demo(
    real: Annotated[
        bool, Option("--real", help="Use a real small model and real HealthBench examples; takes tens of minutes.")
    ] = False,
    folder: Annotated[
        str | None, Option(metavar="DIR", help="Folder for everything the demo writes; default: demo or demo-real.")
    ] = None,
) -> None:
    """Run the whole method on this machine. Rerun it to resume.

    Simulates queries and the teacher's responses, trains a tiny student, critiques and refines, trains again, and
    scores every stage on personas that training never saw. Then it takes twenty questions through the same graph. All
    models but the student are simulated. Needs the training libraries.

    --real takes twenty questions and ten simulated users through the graph on SmolLM2-135M, trains one stage on 64
    brought answers, and answers and grades 20 HealthBench examples before and after. Needs llama.cpp too.
    """
    if real:
        _demo_real(folder or "demo-real")
    else:
        _demo_simulated(folder or "demo")


def _demo_real(folder: str) -> None:
    from pathlib import Path

    from ...core.loading import load_recipe
    from ...graph.run import run_recipe
    from ...pipeline.real_demo import prepare_real_demo
    from ...store.file.database import Store
    from ..printing.summaries import Code, exit_code, print_summary
    from .fetch import ensure_model
    from .pipeline import print_result, result_code, run_shown
    from .run import serve_and_run, take_to_end

    say(REAL_NOTICE)
    again = command("demo", "--real", *([] if folder == "demo-real" else ["--folder", folder]))
    ensure_model("smollm2")
    asking, training = (load_recipe(path, needs=["inputs"]) for path in prepare_real_demo(Path(folder)))
    with Store.open(asking.store) as store:
        say("\ntwenty questions and ten simulated users through the graph")
        summary = take_to_end(serve_and_run(run_recipe, asking, store, asking.call_roles()), again)
        print_summary(stdout(), summary, again, asking.store)
        if summary.pending:
            raise Exit(exit_code(summary))
        say("\none stage of training on brought answers, and HealthBench before and after")
        result = run_shown(training, store, again=again)
        print_result(result, training.store, again)
        if not result.stopped_at:
            _show_questions(store, summary, result, Path(folder))
    # A model of this size fails some samples: the demo has done its work all the same.
    raise Exit(result_code(result) if result.stopped_at else Code.DONE)


def _demo_simulated(folder: str) -> None:
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
            _show_more(store, result, Path(folder) / "recipe.yaml")
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


def _show_sample(out: "Console", store: "Store", sample: str) -> None:
    """A sample as `muser show` prints it, below that command."""
    from ...store.records.ledger import calls_of
    from ...store.records.samples import get_trace
    from ..printing.traces import print_trace

    out.print(f"\n$ {command('show', sample, store=str(store.path))}", soft_wrap=True)
    print_trace(out, get_trace(store, sample), calls_of(store, sample))


def _show_questions(store: "Store", summary: "Summary", result: "PipelineResult", folder: "Path") -> None:
    """One sample of the graph in full, and commands to continue with."""
    out, path = stdout(), str(store.path)
    done = "SELECT key FROM samples WHERE run_id = ? AND status = 'done' ORDER BY id LIMIT 1"
    for row in store.read(done, (summary.run_id,)):
        _show_sample(out, store, f"{summary.run_id}/{row['key']}")
    evaluations = [step.result for step in result.steps if step.name.startswith("eval.")]
    out.print("\nnext steps")
    for line in (
        command("view", store=path),
        command("runs", store=path),
        command("list", summary.run_id, "--where", "status=failed", store=path),
        command("eval", "score", evaluations[-1], "--against", evaluations[0], store=path),
        command("pipeline", str(folder / "training.yaml"), "--plan"),
    ):
        out.print(f"    {line}", soft_wrap=True)


def _show_more(store: "Store", result: "PipelineResult", recipe: "Path") -> None:
    """One persona's answer at every stage, one refined sample in full, and commands to continue with."""
    from ...pipeline.demo import KNOWLEDGE
    from ...store.records.samples import get_trace

    out, path = stdout(), str(store.path)
    runs = {step.name: step.result for step in result.steps}
    first = store.read("SELECT key FROM samples WHERE run_id = ? AND status = 'done' LIMIT 1", (runs["refine.run"],))
    _show_sample(out, store, f"{runs['refine.run']}/{first[0]['key']}")
    evaluations = [run for step, run in runs.items() if step.startswith("eval.")]
    asked = store.read("SELECT key FROM samples WHERE run_id = ? ORDER BY id LIMIT 1", (evaluations[0],))[0]["key"]
    out.print(f"\nThe student's answers to a persona new to it: {get_trace(store, f'{evaluations[0]}/{asked}').query}")
    for run in evaluations:
        answer = get_trace(store, f"{run}/{asked}").response
        out.print(f"\n{run.rpartition('-')[2]}: {_shortened(answer.answer if answer else '')}")
    out.print("\nnext steps")
    for line in (
        command("pipeline", str(recipe), "--plan"),
        command("runs", store=path),
        command("show", f"{evaluations[-1]}/{asked}", "--reasoning", store=path),
        command("eval", "score", evaluations[-1], "--against", evaluations[0], store=path),
    ):
        out.print(f"    {line}", soft_wrap=True)
    out.print(f"The simulated models' knowledge: {KNOWLEDGE}", soft_wrap=True)


def _shortened(text: str) -> str:
    from ..printing.text import one_line

    return one_line(text, 400) or "(nothing)"
