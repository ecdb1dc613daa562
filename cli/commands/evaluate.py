"""`muser eval`: `run` has a model answer a benchmark and grades the answers, `score` adds up the grades."""

from typing import TYPE_CHECKING, Annotated, Any

from typer import Exit, Option, Typer

from ..options import Json, RecipeFile, RecipeStore, RunName, Set, StoreFile
from ..printing.console import DEFAULT_STORE, command, print_json, say, stderr, stdout
from ..printing.scores import print_scores

if TYPE_CHECKING:
    from ...core.recipe import Recipe
    from ...evals.scores import ExampleScore

app = Typer(no_args_is_help=True, rich_markup_mode=None, help="Score models on a benchmark in HealthBench's format.")


@app.command()
def run(
    recipe: RecipeFile,
    model: Annotated[
        str | None,
        Option(metavar="NAME", help="Model that answers, such as student@refine; default: the recipe's responder."),
    ] = None,
    retry: Annotated[bool, Option("--retry", help="Retry failed examples and rubric items without a verdict.")] = False,
    change: Set = None,
    store: RecipeStore = None,
    json: Json = False,
) -> None:
    """Have a model answer the recipe's benchmark and the judge grade the answers. Rerun it to resume.

    A model without an address is served for the duration. Stages of the trained model share their runs with
    `muser pipeline`.
    """
    import asyncio

    from ...pipeline.scoring import evaluate_model
    from ...pipeline.steps import Work
    from ...store.file.database import Store
    from ..interrupts import Stopped, run_stoppable
    from ..loading import load_with
    from ..printing.stages import shown_steps
    from ..printing.summaries import Code, exit_code, print_summary

    settings, words = load_with(recipe, change, store, needs=("evaluation",))
    again = command("eval", "run", recipe, *(["--model", model] if model else []), *words)
    answering = _answering(settings, model)
    with Store.open(settings.store) as opened:
        try:
            with shown_steps(stderr()) as listener:

                async def work(stop: asyncio.Event) -> "Any":
                    return await evaluate_model(
                        Work(settings, opened, listener=listener, retry=retry, stop=stop), answering
                    )

                summary = run_stoppable(
                    work, lambda: say("stopping after the calls in flight; press Ctrl-C again to stop at once")
                )
        except Stopped:
            say(f"stopped at once; resume with: {again}")
            raise Exit(Code.INTERRUPTED) from None
        if json:
            print_json(summary.to_dict())
        else:
            print_summary(stdout(), summary, again, settings.store)
    raise Exit(exit_code(summary))


@app.command()
def score(
    run: RunName,
    against: Annotated[str | None, Option(metavar="RUN", help="Run to compare with, paired by example.")] = None,
    store: StoreFile = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Add up the grades of an evaluation run: overall, by axis and by theme."""
    from ...core.loading import parse_recipe
    from ...evals.grading import score_run
    from ...evals.scores import summarize
    from ...pipeline.report.results import differences
    from ...store.file.database import Store
    from ..loading import named_run

    with Store.open(store, create=False) as opened:

        def scores_of(name: str) -> "list[ExampleScore]":
            before = named_run(opened, name)
            return score_run(parse_recipe(before.recipe, before.folder), opened, name)

        mine = scores_of(run)
        others = scores_of(against) if against else None
    found: dict[str, Any] = {run: {"report": summarize(mine).to_dict(), "differences": {}}}
    if against and others is not None:
        compared = {"report": summarize(others).to_dict(), "differences": {}}
        found = {against: compared, run: found[run] | {"differences": {against: differences(others, mine)}}}
    if json:
        print_json(found)
        return
    print_scores(stdout(), found)
    report = found[run]["report"]
    stdout().print(
        f"\n{report['examples']:,} examples, {report['items']:,} rubric items; {report['items_unjudged']:,} items not "
        f"judged, and {report['left_out_unjudged']:,} examples left out because of it"
    )
    if report["forged"]:
        answers = "1 answer contains" if report["forged"] == 1 else f"{report['forged']:,} answers contain"
        say(f"{answers} tags of the judge's prompt or lines that imitate another turn; the judge saw them escaped")


def _answering(settings: "Recipe", model: str | None) -> "Recipe":
    """The evaluation's recipe, named as in the pipeline for a stage of the student, otherwise after the model."""
    from ...core.errors import SettingsError
    from ...core.recipe import RoleSettings
    from ...pipeline.scoring import answering_recipe, stage_recipe

    bound = model or settings.role("responder").model
    role = RoleSettings(model=bound)
    if role.name not in settings.models:
        raise SettingsError(f"there is no model {role.name}", todo=f"available: {', '.join(settings.models)}")
    if settings.training and role.name == settings.training.model:
        for stage in ("base", "distill", "refine"):
            if role.stage == stage:
                return stage_recipe(settings, stage)
        raise SettingsError(f"there is no stage {role.stage}", todo="available: base, distill, refine")
    return answering_recipe(settings, bound, f"{settings.name}-eval-{role.name}")
