"""Score tables of one evaluation, of two, and of a finished pipeline."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .console import say

if TYPE_CHECKING:
    from rich.console import Console

    from ...pipeline.run import PipelineResult


def print_scores(console: "Console", scores: "Mapping[str, Any]") -> None:
    """The score table, each score marked by how it differs from the one before, and below it the differences."""
    from itertools import pairwise

    from ...pipeline.report import render

    names = render.metrics_of(scores)
    stages = list(scores)
    marked = {stage: scores[stage]["differences"].get(before) for before, stage in pairwise(["", *stages])}

    def cell(stage: str, name: str) -> str:
        score, differences = _plus_minus(render.find_score(scores[stage]["report"], name), "mean"), marked[stage]
        return score if differences is None else f"{score} {_mark(differences.get(name))}"

    rows = [
        [render.metric_name(name), render.answers_of(scores, name), *(cell(stage, name) for stage in stages)]
        for name in names
    ]
    _print(console, ["n", *stages], rows)
    pairs = [(stage, other) for stage in stages for other in scores[stage]["differences"]]
    if pairs:
        say("")
        rows = [
            [render.metric_name(name), *(_difference(scores[s]["differences"][o].get(name)) for s, o in pairs)]
            for name in names
        ]
        console.print()
        _print(console, [f"{stage} − {other}" for stage, other in pairs], rows)
        for reason in render.reasons_of(scores):
            say(reason)


def print_caption(console: "Console", report: "Mapping[str, Any]") -> None:
    """What stands below one evaluation's table: what was graded, and what verdicts that are missing may change."""
    console.print(
        f"{report['examples']:,} answers, {report['items']:,} rubric items; {report['items_unjudged']:,} items not "
        f"judged, and {report['left_out_unjudged']:,} answers left out because of it"
    )
    bounds = report["bounds"]
    if bounds and report["items_unjudged"]:
        none, every, low, high = (100 * bounds[name] for name in ("none_met", "all_met", "lowest", "highest"))
        console.print(
            f"over all answers: {none:.1f} if no item without a verdict is met, {every:.1f} if all are; "
            f"in any case {low:.1f} to {high:.1f}"
        )
    if report["forged"]:
        answers = "1 answer contains" if report["forged"] == 1 else f"{report['forged']:,} answers contain"
        say(f"{answers} tags of the judge's prompt or lines that imitate another turn; the judge saw them escaped")


def print_judge(console: "Console", run: str, judge: "Mapping[str, str] | None") -> None:
    """Who graded a run."""
    if judge is None:
        console.print(f"{run}: graded without a judge")
        return
    revision = f", revision {judge['revision'][:12]}" if judge["revision"] else ""
    console.print(
        f"{run}: judge {judge['model']} ({judge['served_as']}{revision}), reasoning {judge['reasoning']}, "
        f"one call for each {judge['grading']}, prompt {judge['prompt'][:12]}"
    )


def print_report(console: "Console", result: "PipelineResult") -> None:
    """A finished pipeline: its score table, the recipe's note, caption and report path."""
    from json import loads

    from ...pipeline.report import render

    if result.report is None:
        return
    data = loads(result.report.with_suffix(".json").read_text(encoding="utf-8"))
    if data["scores"]:
        print_scores(console, data["scores"])
        console.print()
        console.print(f"percent ± half the 95 % interval; {render.WORSE} worse, {render.UNSURE} no difference shown")
    for text in filter(None, (data["note"], data["caption"])):
        console.print()
        console.print(text)
    console.print()
    console.print(f"report: {result.report} (also .md and .json)", soft_wrap=True)


def _print(console: "Console", names: "Sequence[str]", rows: "Sequence[Sequence[str]]") -> None:
    from rich.text import Text

    from .layout import columns

    for line in columns(console, ("",), names, [[Text(cell) for cell in row] for row in rows]):
        console.print(line)


def _mark(difference: "Mapping[str, Any] | None") -> str:
    from ...pipeline.report import render

    marks = {"lower": render.WORSE, "no difference shown": render.UNSURE}
    return marks.get(difference["verdict"], " ") if difference else " "


def _plus_minus(found: "Mapping[str, float] | None", key: str, sign: str = "") -> str:
    if found is None:
        return "–"
    return f"{100 * found[key]:{sign}.1f} ± {50 * (found['high'] - found['low']):.1f}"


def _difference(found: "Mapping[str, Any] | None") -> str:
    return "–" if found is None else f"{_plus_minus(found, 'difference', '+')} {_mark(found)}"
