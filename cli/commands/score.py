"""`muser eval score`: adds up the grades of an evaluation run, or of a file."""

from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from ..options import Json, StoreFile
from ..printing.console import DEFAULT_STORE, print_json, say, stdout
from ..printing.scores import print_caption, print_judge, print_scores

if TYPE_CHECKING:
    from ...core.recipe.training import Benchmark
    from ...evals.scores import ExampleScore
    from ...store.file.database import Store


def score(
    run: Annotated[
        str, Argument(metavar="RUN", help="Name of an evaluation run, as listed by `muser runs`; none with --grades.")
    ] = "",
    *,
    against: Annotated[str | None, Option(metavar="RUN", help="Run to compare with, paired by example.")] = None,
    data: Annotated[str | None, Option(metavar="FILE", help="With --grades: the benchmark, JSONL.")] = None,
    grades: Annotated[
        str | None, Option(metavar="FILE", help="JSONL of {prompt_id, rubric_index, criteria_met} instead of a run.")
    ] = None,
    answers: Annotated[
        str | None, Option(metavar="FILE", help="With --grades: JSONL of {prompt_id, response}, to adjust for length.")
    ] = None,
    benchmark: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="With --answers: whose length adjustment applies: healthbench, hard, consensus or professional.",
        ),
    ] = None,
    store: StoreFile = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Add up grades: overall, by axis and by theme.

    With --data and --grades nothing else is needed, and --json has the names and the arithmetic of simple-evals.
    """
    from ...core.errors import InputError

    if grades and data and not run:
        _score_files(data, grades, answers, benchmark, json)
    elif run and not (grades or data or answers or benchmark):
        _score_run(run, against, store, json)
    else:
        raise InputError("name what to score", todo="give RUN, or --data FILE and --grades FILE")


def _score_files(data: str, grades: str, answers: str | None, benchmark: str | None, json: bool) -> None:
    from pathlib import Path

    from ...core.errors import InputError
    from ...evals.healthbench import load_examples
    from ...evals.lengths import rate_of
    from ...evals.scores import summarize
    from ...evals.stored import as_simple_evals, score_files

    if bool(answers) != bool(benchmark):
        raise InputError(
            "the length adjustment needs both the answers and the benchmark's name",
            todo="give --answers FILE and --benchmark NAME together",
        )
    examples = load_examples(Path(data))
    scores = score_files(examples, Path(grades), Path(answers) if answers else None)
    report = summarize(scores, rate=rate_of(_benchmark(benchmark) if benchmark else None))
    if len(scores) < len(examples):
        say(f"{len(examples) - len(scores):,} of the benchmark's {len(examples):,} examples have no grade at all")
    if json:
        print_json(as_simple_evals(report).model_dump(mode="json"))
        return
    found = report.to_dict()
    print_scores(stdout(), {"score": {"report": found, "differences": {}}})
    stdout().print()
    print_caption(stdout(), found)


def _score_run(run: str, against: str | None, store: str, json: bool) -> None:
    from ...pipeline.report.results import differences
    from ...store.file.database import Store

    with Store.open(store, create=False) as opened:
        mine, found = _graded(opened, run)
        scored = {run: found}
        if against:
            others, compared = _graded(opened, against)
            scored = {against: compared, run: found | {"differences": {against: differences(others, mine)}}}
    if json:
        print_json(scored)
        return
    print_scores(stdout(), scored)
    stdout().print()
    print_caption(stdout(), scored[run]["report"])
    for name, one in scored.items():
        print_judge(stdout(), name, one["judge"])


def _graded(store: "Store", name: str) -> "tuple[list[ExampleScore], dict[str, Any]]":
    """The scores of a run's examples, and what is printed about the run alone."""
    from ...core.loading import parse_recipe
    from ...evals.grading import benchmark_of, score_run
    from ...evals.lengths import rate_of
    from ...evals.scores import summarize
    from ...evals.verdicts import judge_of
    from ..loading import named_run

    run = named_run(store, name)
    recipe = parse_recipe(run.recipe, run.folder)
    scores = score_run(recipe, store, name)
    report = summarize(scores, rate=rate_of(benchmark_of(recipe).benchmark)).to_dict()
    judge = judge_of(run, recipe)
    return scores, {"report": report, "differences": {}, "judge": judge.model_dump() if judge else None}


def _benchmark(name: str) -> "Benchmark":
    from ...core.errors import InputError
    from ...evals.lengths import RATES

    known = {one: one for one in RATES}
    if name not in known:
        raise InputError(f"there is no length adjustment for {name}", todo=f"known: {', '.join(known)}")
    return known[name]
