"""Output of `muser check --probe`: each finding as it is known, what to do about it, and a run's cost."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from ...pipeline.preflight.probe import probe_recipe
from ...pipeline.preflight.trial_run import Finding
from ..loading import existing_store
from ..printing.console import print_json, say, stderr, stdout
from ..printing.layout import columns, paragraph
from ..printing.progress import duration, share, shown_progress
from ..printing.summaries import Code
from ..printing.text import plain
from .check import print_check

if TYPE_CHECKING:
    from ...core.recipe import Recipe
    from ...pipeline.preflight.estimate import Estimate, Interval

MARKS = {"good": "green", "hint": "yellow", "problem": "bold red"}
INDENT = 9
BOUNDS = (
    "The shorter time assumes that samples take as long at the recipe's concurrency as in the trial run; the"
    " longer one assumes that more concurrency adds no throughput. Training and evaluation are not included."
)


def probe_and_print(
    recipe: "Recipe", file: str, facts: dict[str, Any], *, tries: int, gpus: int | None, json: bool
) -> int:
    """Probes and prints each finding when it is known; returns the exit code.

    `facts` is what `muser check` reports without calling an endpoint.
    """
    roles = [role["role"] for role in facts["roles"]]
    if not json:
        print_check(stdout(), file, facts | {"endpoints": []})

    def show(finding: Finding) -> None:
        if not json:
            print_finding(stdout(), finding, roles)

    try:
        with existing_store(recipe) as store, shown_progress(stderr(), panel=False) as follow:
            probing = probe_recipe(
                recipe, store, tries=tries, gpus=gpus, on_start=_tell, on_finding=show, on_progress=follow
            )
            found = asyncio.run(probing)
    except KeyboardInterrupt:
        return Code.INTERRUPTED
    if json:
        print_json(facts | found.to_dict())
    else:
        print_cost(stdout(), found.estimate)
    return Code.ERROR if found.problems else Code.DONE


def print_finding(console: Console, finding: Finding, roles: Sequence[str]) -> None:
    """`roles` are all roles of the recipe: a finding on all of them says "all roles"."""
    label = Text(finding.level, style=MARKS[finding.level])
    said = f"{finding.what}, {_named(finding.roles, roles)}: {plain(finding.seen)}"
    for line in paragraph(console, Text(said), by=INDENT, label=label):
        console.print(line)
    if finding.level != "good" and finding.todo:
        for line in paragraph(console, Text(plain(finding.todo)), by=INDENT + 2, label=Text(" " * INDENT + "→")):
            console.print(line)


def print_cost(console: Console, estimate: "Estimate | None") -> None:
    """What a run will cost, if enough of the trial run's samples finished."""
    console.print()
    if estimate is None:
        console.print(Text("Fix the problems first; then --probe can estimate what a run will cost.", style="yellow"))
    else:
        _print_estimate(console, estimate)


def _print_estimate(console: Console, estimate: "Estimate") -> None:
    tried = f"from {estimate.tried} trial samples"
    console.print(Text(f"what {estimate.samples:,} samples will cost, {tried} (95 % intervals)", style="bold"))
    cached = share(round(estimate.tokens_cached.value), round(estimate.tokens_in.value))
    rows = [
        ("calls", _count(estimate.calls)),
        ("prompt tokens", f"{_count(estimate.tokens_in)}, {cached} of them cached"),
        ("completion tokens", _count(estimate.tokens_out)),
        ("time", f"{duration(3600 * estimate.hours_least.low)} to {duration(3600 * estimate.hours_most.high)}"),
    ]
    if estimate.gpus:
        rows.append(("GPU-hours", f"{_gpu_hours(estimate)}, with {estimate.gpus} GPU{'s' * (estimate.gpus > 1)}"))
    for line in columns(console, ("", ""), (), [[Text(name), Text(value)] for name, value in rows]):
        if line.plain:
            console.print(line)
    for line in paragraph(console, Text(BOUNDS, style="dim")):
        console.print(line)


def _named(roles: Sequence[str], all_roles: Sequence[str]) -> str:
    if set(roles) >= set(all_roles):
        return "all roles"
    critics = {role for role in all_roles if role.startswith("critics.")}
    if critics and critics <= set(roles):
        return ", ".join([*(role for role in roles if role not in critics), "critics"])
    return ", ".join(roles)


def _count(interval: "Interval") -> str:
    low, high = round(interval.low), round(interval.high)
    return f"{round(interval.value):,}" + (f" ({low:,} to {high:,})" if low < high else "")


def _tell(name: str, path: str) -> None:
    say(f"serving {name} from {path} ...")


def _gpu_hours(estimate: "Estimate") -> str:
    least, most = estimate.hours_least.low * estimate.gpus, estimate.hours_most.high * estimate.gpus
    return f"{least:.3g} to {most:.3g}"
