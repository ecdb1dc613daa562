"""Commands that run samples: `run`, `retry`, and the list `runs`."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Annotated, cast

from typer import BadParameter, Exit, Option

from ..loading import named_run
from ..options import Json, RecipeFile, RecipeStore, RunName, Set, StoreFile
from ..printing.console import DEFAULT_STORE, command, json_text, print_json, say, stderr, stdout

if TYPE_CHECKING:
    import asyncio

    from ...core.recipe import Recipe
    from ...graph.progress import Progress, Summary
    from ...store.file.database import Store
    from ...store.records.runs import Run

    Work = Callable[[Callable[[Progress], None], asyncio.Event], Awaitable[Summary]]


def run(
    recipe: RecipeFile,
    *,
    change: Set = None,
    store: RecipeStore = None,
    samples: Annotated[int | None, Option(min=0, metavar="N", help="Number of samples to simulate.")] = None,
    concurrency: Annotated[str | None, Option(metavar="N|auto", help="Samples in flight.")] = None,
    new: Annotated[bool, Option("--new", help="Start a new run, even if one of this name can be resumed.")] = False,
    fresh: Annotated[
        bool, Option("--fresh", help="Start a new run that reuses no calls of other runs: --new with reuse=run.")
    ] = False,
    workers: Annotated[
        int | None,
        Option(min=1, metavar="N", help="Worker processes; they join a run that is already active."),
    ] = None,
    top_up: Annotated[
        bool,
        Option("--top-up", help="Then add samples until every pair of values that `muser coverage` judges is covered."),
    ] = False,
    follow: Annotated[bool, Option("--follow", help="Print a line for each sample as it ends.")] = False,
    json: Json = False,
) -> None:
    """Run a recipe, or resume its run.

    Runs every sample of the recipe that is not finished. A changed recipe is refused: start a new run with --new.
    The first Ctrl-C waits for the samples in flight, the second stops at once. Neither loses a finished call.
    """
    from functools import partial
    from json import dumps

    from ...core.loading import load_recipe
    from ...graph.run import run_recipe
    from ...store.file.database import Store

    change = [*(change or []), *(["reuse=run"] if fresh else [])]
    typed = {"store": store, "samples": samples, "concurrency": concurrency}
    given = {name: str(value) for name, value in typed.items() if value is not None}
    # Overrides are parsed as YAML: in quotes, a path such as `1.0` stays a string.
    flags = [f"{name}={dumps(value) if name == 'store' else value}" for name, value in given.items()]
    settings = load_recipe(recipe, [*change, *flags], needs=["inputs"])
    given |= {} if workers is None else {"workers": str(workers)}
    repeated = [*_repeated(change), *(word for k, v in given.items() for word in (f"--{k}", v))]
    again = command("run", recipe, *repeated, *(["--top-up"] if top_up else []))
    with Store.open(settings.store) as opened:
        act = partial(run_recipe, new=new or fresh, top_up=top_up, workers=workers)
        work = serve_and_run(act, settings, opened, settings.call_roles())
        finish(work, again=again, store=settings.store, json=json, follow=opened if follow else None)


def retry(
    run: RunName,
    failed: Annotated[
        bool,
        Option("--failed", help="Retry failed samples, and in an evaluation also rubric items without a verdict."),
    ] = False,
    change: Set = None,
    store: StoreFile = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Retry a run's failed samples, with the run's own recipe."""
    from ...core.loading import parse_recipe
    from ...store.file.database import Store

    if not failed:
        raise BadParameter("say what to retry: --failed")
    with Store.open(store, create=False) as opened:
        before = named_run(opened, run)
        settings = parse_recipe(before.recipe, before.folder, change or [], source=f"the recipe of run {run}")
        again = command("retry", run, "--failed", *_repeated(change), store=store)
        finish(_retry_work(settings, opened, before), again=again, store=store, json=json)


def runs(store: StoreFile = DEFAULT_STORE, json: Json = False) -> None:
    """List the runs in a store, newest first."""
    from ...store.file.database import Store
    from ...store.records.runs import list_runs

    with Store.open(store, create=False) as opened:
        lines = list_runs(opened)
    if json:
        print_json([line.model_dump(mode="json") for line in lines])
        return
    from ..printing.summaries import print_runs

    if lines:
        print_runs(stdout(), lines)
    else:
        say(f"no run yet in {store}")


def finish(work: "Work", *, again: str, store: str, json: bool, follow: "Store | None" = None) -> None:
    """Finishes a run, prints its summary and exits with its code. `again` is the command that resumes it.

    With a store to `follow`, each sample that ends is a line; JSON is then one value per line.
    """
    from ..printing.follow import followed, write_line
    from ..printing.summaries import exit_code, print_summary

    if follow is None:
        summary = take_to_end(work, again)
    else:
        with followed(follow, write_line, json=json) as note:
            summary = take_to_end(work, again, note)
    if json and follow:
        write_line(json_text(summary.to_dict()))
    elif json:
        print_json(summary.to_dict())
    else:
        print_summary(stdout(), summary, again, store)
    raise Exit(exit_code(summary))


def take_to_end(work: "Work", again: str, follow: "Callable[[Progress], None] | None" = None) -> "Summary":
    """Does the work with its progress on stderr and passed to `follow`; exits if a second signal stops it."""
    from ..interrupts import Stopped, run_stoppable
    from ..printing.progress import shown_progress
    from ..printing.summaries import Code

    seen: list[Progress] = []

    def warn() -> None:
        flight = f" ({seen[0].in_flight} samples)" if seen else ""
        say(f"stopping after the work in flight{flight}; press Ctrl-C again to stop at once")

    try:
        # Lines on stdout would break up a live panel.
        with shown_progress(stderr(), panel=follow is None) as show:

            def note(progress: "Progress") -> None:
                seen[:] = [progress]
                show(progress)
                if follow:
                    follow(progress)

            return run_stoppable(lambda stop: work(note, stop), warn)
    except Stopped:
        say(f"stopped at once; every finished call is kept. Resume with: {again}")
        raise Exit(Code.INTERRUPTED) from None


def _retry_work(settings: "Recipe", store: "Store", before: "Run") -> "Work":
    """The work that retries a run's failed samples, for every kind of run: recipe, pipeline, evaluation, replay."""
    from functools import partial

    from ...graph.replay import retry_forks
    from ...graph.run import run_recipe

    made_by = cast("dict[str, dict[str, str]]", before.identity)
    roles, source = list(made_by["roles"]), made_by["texts"].get("inputs")
    if before.kind == "evaluation":
        from ...evals.grading import evaluate

        act: Callable[..., Awaitable[Summary]] = partial(evaluate, run_id=before.id, retry=True)
    elif before.parent:
        act = partial(retry_forks, run=before)
    elif source:
        act = partial(run_recipe, run_id=before.id, retry=True, inputs=(), source=source, roles=roles)
    else:
        act = partial(run_recipe, run_id=before.id, retry=True)
    return serve_and_run(act, settings, store, roles)


def serve_and_run(
    act: "Callable[..., Awaitable[Summary]]", settings: "Recipe", store: "Store", roles: "Iterable[str]"
) -> "Work":
    """A run as work: models of `roles` without an address are served for the duration."""
    from ...pipeline.servers import serving

    def tell(name: str, path: str) -> None:
        say(f"serving {name} from {path} ...")

    def warn(what: str) -> None:
        say(f"warning: {what}")

    async def work(follow: "Callable[[Progress], None]", stop: "asyncio.Event") -> "Summary":
        async with serving(settings, store, roles, on_start=tell, on_warning=warn, stop=stop) as up:
            return await act(settings, store, models=up.models, revisions=up.revisions, on_progress=follow, stop=stop)

    return work


def _repeated(change: list[str] | None) -> list[str]:
    return [word for each in change or [] for word in ("--set", each)]
