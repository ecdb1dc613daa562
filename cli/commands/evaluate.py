"""`muser eval run`, `answer`, `grade` and `regrade`: a model answers a benchmark, and a judge grades the answers."""

from typing import TYPE_CHECKING, Annotated, Any

from typer import BadParameter, Exit, Option

from ..options import Json, RecipeFile, RecipeStore, RunName, Set, StoreFile
from ..printing.console import DEFAULT_STORE, command, print_json, say, stderr, stdout

if TYPE_CHECKING:
    import asyncio

    from ...core.recipe import Recipe
    from ...graph.progress import Summary

Data = Annotated[str | None, Option(metavar="FILE", help="The benchmark, JSONL; default: the recipe's.")]
Model = Annotated[
    str | None,
    Option(metavar="NAME", help="Model that answers, such as student@refine; default: the recipe's responder."),
]
Judge = Annotated[str | None, Option(metavar="NAME", help="Model that grades; default: the recipe's judge.")]
Retry = Annotated[bool, Option("--retry", help="Retry failed examples and rubric items without a verdict.")]


def run(
    recipe: RecipeFile,
    *,
    data: Data = None,
    model: Model = None,
    judge: Judge = None,
    retry: Retry = False,
    change: Set = None,
    store: RecipeStore = None,
    json: Json = False,
) -> None:
    """Have a model answer a benchmark and the judge grade the answers. Rerun it to resume.

    A model without an address is served for the duration. Stages of the trained model share their runs with
    `muser pipeline`.
    """
    settings, words = _load(recipe, change, store, data=data, judge=judge)
    again = command("eval", "run", recipe, *_flags(data=data, model=model, judge=judge), *words)
    _finish(_answering(settings, model, "eval"), again, retry=retry, json=json)


def answer(
    recipe: RecipeFile,
    *,
    out: Annotated[str, Option(metavar="FILE", help="Where to write the answers, JSONL of {prompt_id, response}.")],
    data: Data = None,
    model: Model = None,
    retry: Retry = False,
    change: Set = None,
    store: RecipeStore = None,
    json: Json = False,
) -> None:
    """Have a model answer a benchmark, without a judge. Rerun it to resume.

    `muser eval grade` grades the file, and `muser eval run` reuses these answers.
    """
    from pathlib import Path

    from ...evals.grading import keyed_answers
    from ...evals.stored import write_answers
    from ...store.file.database import Store

    settings, words = _load(recipe, change, store, data=data, more=["evaluation.grading=none"])
    again = command("eval", "answer", recipe, "--out", out, *_flags(data=data, model=model), *words)
    answering = _answering(settings, model, "answers")

    def write(summary: "Summary") -> None:
        with Store.open(settings.store, create=False) as opened:
            count = write_answers(Path(out), keyed_answers(answering, opened, summary.run_id))
        say(f"{count:,} answers are in {out}")

    _finish(answering, again, retry=retry, json=json, then=write)


def grade(
    recipe: RecipeFile,
    *,
    answers: Annotated[
        str, Option(metavar="FILE|RUN", help="JSONL of {prompt_id, response}, or an evaluation run of the store.")
    ],
    data: Data = None,
    judge: Judge = None,
    retry: Retry = False,
    change: Set = None,
    store: RecipeStore = None,
    json: Json = False,
) -> None:
    """Have a judge grade answers that exist already. No other model is called."""
    from pathlib import Path

    given = str(Path(answers).resolve()) if Path(answers).is_file() else answers
    settings, words = _load(recipe, change, store, data=data, judge=judge, more=[_set("evaluation.answers", given)])
    again = command("eval", "grade", recipe, "--answers", answers, *_flags(data=data, judge=judge), *words)
    named = settings.model_copy(update={"name": f"{settings.name}-eval-{Path(answers).stem}"})
    _finish(named, again, retry=retry, json=json)


def regrade(
    run: RunName,
    *,
    failed: Annotated[bool, Option("--failed", help="Ask only for the rubric items without a verdict.")] = False,
    judge: Annotated[
        str | None,
        Option(metavar="NAME", help="Ask this model of the recipe for all items, in a run of its own."),
    ] = None,
    change: Set = None,
    store: StoreFile = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Grade a run's answers again. The answers stay as they are."""
    from ...core.loading import parse_recipe
    from ...store.file.database import Store
    from ..loading import named_run
    from .run import retry

    if failed == bool(judge):
        raise BadParameter("say what to grade again: --failed or --judge NAME")
    if judge is None:
        retry(run, failed=True, change=change, store=store, json=json)
        return
    with Store.open(store, create=False) as opened:
        before = named_run(opened, run)
    changes = [*(change or []), _set("roles.judge", judge), _set("evaluation.answers", run)]
    settings = parse_recipe(before.recipe, before.folder, changes, source=f"the recipe of run {run}")
    named = settings.model_copy(update={"name": f"{run}-by-{judge.replace('@', '-')}", "store": store})
    words = [word for one in change or [] for word in ("--set", one)]
    _finish(named, command("eval", "regrade", run, "--judge", judge, *words, store=store), json=json)


def _load(
    recipe: str,
    change: list[str] | None,
    store: str | None,
    *,
    data: str | None = None,
    judge: str | None = None,
    more: "list[str] | None" = None,
) -> "tuple[Recipe, list[str]]":
    """The recipe with a command's options as its settings, and the words that repeat --set and --store."""
    from pathlib import Path

    from ..loading import load_with

    options = {"evaluation.file": str(Path(data).resolve()) if data else None, "roles.judge": judge}
    given = [_set(key, value) for key, value in options.items() if value] + (more or [])
    settings, _ = load_with(recipe, [*(change or []), *given], store, needs=("evaluation",))
    words = [word for one in change or [] for word in ("--set", one)] + (["--store", store] if store else [])
    return settings, words


def _set(key: str, value: str) -> str:
    from json import dumps

    # Overrides are parsed as YAML: in quotes, a path such as `1.0` stays a string.
    return f"{key}={dumps(value)}"


def _flags(**given: str | None) -> list[str]:
    return [word for name, value in given.items() if value for word in (f"--{name}", value)]


def _finish(settings: "Recipe", again: str, *, json: bool, retry: bool = False, then: "Any" = None) -> None:
    """Runs an evaluation with its progress on stderr, prints its summary and exits with its code."""
    from ...pipeline.scoring import evaluate_model
    from ...pipeline.steps import Work
    from ...store.file.database import Store
    from ..interrupts import Stopped, run_stoppable
    from ..printing.stages import shown_steps
    from ..printing.summaries import Code, exit_code, print_summary

    def warn() -> None:
        say("stopping after the calls in flight; press Ctrl-C again to stop at once")

    with Store.open(settings.store) as opened, shown_steps(stderr()) as listener:

        async def work(stop: "asyncio.Event") -> "Summary":
            return await evaluate_model(Work(settings, opened, listener=listener, retry=retry, stop=stop), settings)

        try:
            summary = run_stoppable(work, warn)
        except Stopped:
            say(f"stopped at once; resume with: {again}")
            raise Exit(Code.INTERRUPTED) from None
    if then:
        then(summary)
    if json:
        print_json(summary.to_dict())
    else:
        print_summary(stdout(), summary, again, settings.store)
    raise Exit(exit_code(summary))


def _answering(settings: "Recipe", model: str | None, purpose: str) -> "Recipe":
    """The evaluation's recipe, named as in the pipeline for a stage of the student, otherwise after the model."""
    from ...core.errors import SettingsError
    from ...core.recipe import RoleSettings
    from ...pipeline.scoring import answering_recipe, stage_recipe

    bound = model or settings.role("responder").model
    role = RoleSettings(model=bound)
    if role.name not in settings.models:
        raise SettingsError(f"there is no model {role.name}", todo=f"available: {', '.join(settings.models)}")
    if purpose == "eval" and settings.training and role.name == settings.training.model:
        for stage in ("base", "distill", "refine"):
            if role.stage == stage:
                return stage_recipe(settings, stage)
        raise SettingsError(f"there is no stage {role.stage}", todo="available: base, distill, refine")
    return answering_recipe(settings, bound, f"{settings.name}-{purpose}-{bound.replace('@', '-')}")
