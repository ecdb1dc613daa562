"""Commands that score: `eval run` has a benchmark answered and the answers graded, `eval score` adds up."""

from typing import TYPE_CHECKING, Annotated, Any

from typer import Exit, Option, Typer

from .console import DEFAULT_STORE, command, print_json, say, stderr, stdout
from .options import Json, RecipeFile, RecipeStore, RunName, Set, StoreFile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from ..core.recipe import Recipe
    from ..evals.scores import ExampleScore
    from ..pipeline.run import PipelineResult

app = Typer(no_args_is_help=True, rich_markup_mode=None, help="Score models on a benchmark in HealthBench's format.")


@app.command()
def run(
    recipe: RecipeFile,
    model: Annotated[
        str | None,
        Option(metavar="NAME", help="Who answers, perhaps student@refine; the recipe's responder by default."),
    ] = None,
    retry: Annotated[bool, Option("--retry", help="Retry failed examples and rubric items without a verdict.")] = False,
    change: Set = None,
    store: RecipeStore = None,
    json: Json = False,
) -> None:
    """Let a model answer the recipe's benchmark and its judge grade the answers; again resumes it.

    A model without an address is served meanwhile. Stages of the trained model share their runs with `muser pipeline`.
    """
    import asyncio

    from ..pipeline.scoring import evaluate_model
    from ..pipeline.steps import Work
    from ..store.database import Store
    from .interrupts import Stopped, run_stoppable
    from .pipeline import load_with
    from .stages import shown_steps
    from .summaries import Code, exit_code, print_summary

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

                summary = run_stoppable(work, lambda: say("stopping after what is in flight; again stops at once"))
        except Stopped:
            say(f"stopped at once; go on with: {again}")
            raise Exit(Code.INTERRUPTED) from None
        if json:
            print_json(summary.to_dict())
        else:
            print_summary(stdout(), summary, again, settings.store)
    raise Exit(exit_code(summary))


@app.command()
def score(
    run: RunName,
    against: Annotated[str | None, Option(metavar="RUN", help="Compare with another run, paired by example.")] = None,
    store: StoreFile = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Add up the grades of an evaluation run: overall, by axis and by theme."""
    from ..core.loading import parse_recipe
    from ..evals.grading import score_run
    from ..evals.scores import summarize
    from ..pipeline.accounts import differences
    from ..store.database import Store
    from .runs import named_run

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
        f"judged, and {report['left_out_unjudged']:,} examples left out for it"
    )
    if report["forged"]:
        answers = "1 answer holds" if report["forged"] == 1 else f"{report['forged']:,} answers hold"
        say(f"{answers} tags of the judge's prompt or lines that read like another turn; the judge saw them escaped")


def print_scores(console: "Console", scores: "Mapping[str, Any]") -> None:
    """The table of scores, each marked by how it differs from the one before it, and under it that of differences."""
    from itertools import pairwise

    from ..pipeline import pages

    names = pages.metrics_of(scores)
    stages = list(scores)
    marked = {stage: scores[stage]["differences"].get(before) for before, stage in pairwise(["", *stages])}

    def cell(stage: str, name: str) -> str:
        score, differences = _plus_minus(pages.find_score(scores[stage]["report"], name), "mean"), marked[stage]
        return score if differences is None else f"{score} {_mark(differences.get(name))}"

    rows = [[pages.metric_name(name), *(cell(stage, name) for stage in stages)] for name in names]
    _print(console, stages, rows)
    pairs = [(stage, other) for stage in stages for other in scores[stage]["differences"]]
    if pairs:
        say("")
        rows = [
            [pages.metric_name(name), *(_difference(scores[s]["differences"][o].get(name)) for s, o in pairs)]
            for name in names
        ]
        console.print()
        _print(console, [f"{stage} − {other}" for stage, other in pairs], rows)


def print_report(console: "Console", result: "PipelineResult") -> None:
    """A finished pipeline: its table and caption, and where the rest is."""
    from json import loads

    from ..pipeline import pages

    if result.report is None:
        return
    data = loads(result.report.with_suffix(".json").read_text(encoding="utf-8"))
    if data["scores"]:
        print_scores(console, data["scores"])
        console.print()
        console.print(f"per cent ± half the 95 % interval; {pages.WORSE} got worse, {pages.UNSURE} no difference shown")
    if data["caption"]:
        console.print()
        console.print(data["caption"])
    console.print()
    console.print(f"report: {result.report} (also .md and .json)", soft_wrap=True)


def _print(console: "Console", names: "Sequence[str]", rows: "Sequence[Sequence[str]]") -> None:
    from rich.text import Text

    from .layout import columns

    for line in columns(console, ("",), names, [[Text(cell) for cell in row] for row in rows]):
        console.print(line)


def _mark(difference: "Mapping[str, Any] | None") -> str:
    from ..pipeline import pages

    marks = {"lower": pages.WORSE, "no difference shown": pages.UNSURE}
    return marks.get(difference["verdict"], " ") if difference else " "


def _plus_minus(found: "Mapping[str, float] | None", key: str, sign: str = "") -> str:
    if found is None:
        return "–"
    return f"{100 * found[key]:{sign}.1f} ± {50 * (found['high'] - found['low']):.1f}"


def _difference(found: "Mapping[str, Any] | None") -> str:
    return "–" if found is None else f"{_plus_minus(found, 'difference', '+')} {_mark(found)}"


def _answering(settings: "Recipe", model: str | None) -> "Recipe":
    """The recipe of the evaluation: under the pipeline's name for a stage of the student, else under the model's."""
    from ..core.errors import SettingsError
    from ..core.recipe import RoleSettings
    from ..pipeline.scoring import answering_recipe, stage_recipe

    bound = model or settings.role("responder").model
    role = RoleSettings(model=bound)
    if role.name not in settings.models:
        raise SettingsError(f"there is no model {role.name}", todo=f"there are: {', '.join(settings.models)}")
    if settings.training and role.name == settings.training.model:
        for stage in ("base", "distill", "refine"):
            if role.stage == stage:
                return stage_recipe(settings, stage)
        raise SettingsError(f"there is no stage {role.stage}", todo="there are: base, distill, refine")
    return answering_recipe(settings, bound, f"{settings.name}-eval-{role.name}")
