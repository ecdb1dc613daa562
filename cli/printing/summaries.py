"""Summary of a finished run: sample counts, failures and their causes, tokens by role, next commands."""

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from .console import command
from .layout import columns, paragraph
from .progress import duration, share
from .text import plain
from .traces import STATUSES

if TYPE_CHECKING:
    from ...graph.progress import Limiter, Summary
    from ...store.records.ledger import RoleUsage
    from ...store.records.runs import RunLine


class Code(IntEnum):
    """The exit codes; typer itself exits with 2 on wrong usage."""

    DONE = 0
    ERROR = 1
    FAILED_SAMPLES = 3
    STOPPED = 4
    INTERRUPTED = 130


REASONS = {
    "tokens": "stopped at the token limit",
    "hours": "stopped at the time limit",
    "interrupt": "interrupted",
    "endpoint": "stopped: the endpoint no longer responds",
    "bug": "stopped: too many samples in a row failed because of a bug in muser",
    "killed": "stopped: every worker process was killed",
}


SIMULATED = "simulated: a script replied, not a model; this says nothing about medicine"

LIMITERS: dict["Limiter", str] = {
    "samples": "too few samples",
    "client": "muser itself",
    "queue": "the servers' queues",
    "kv": "the servers' KV cache",
    "latency": "the endpoints' latency",
    "concurrency": "concurrency",
}


def exit_code(summary: "Summary") -> Code:
    """Pending samples outrank failed ones, because rerunning the command continues them.

    Rubric items that are not judged count as failed: a retry is what judges them.
    """
    if summary.pending:
        return Code.INTERRUPTED if summary.stopped_by == "interrupt" else Code.STOPPED
    return Code.FAILED_SAMPLES if summary.failed or summary.unjudged or summary.short else Code.DONE


def print_summary(console: Console, summary: "Summary", again: str, store: str) -> None:
    """`again` is the command that resumes pending samples."""
    console.print(_headline(summary))
    if summary.simulated:
        console.print(Text(SIMULATED, style="yellow"))
    if summary.pending:
        _print_lines(console, f"{REASONS.get(summary.stopped_by, 'stopped')}; resume with:", [again], "yellow")
        if summary.stop_cause:
            console.print(Text(_indented(plain(summary.stop_cause))))
    if summary.killed and not summary.pending:
        console.print(Text(f"worker processes killed; others finished their samples: {summary.killed}", style="yellow"))
    if summary.failures:
        _print_failures(console, summary, store)
    if summary.unjudged:
        items = (
            f"{summary.unjudged:,} rubric item{'s' * (summary.unjudged > 1)} got no verdict from the judge; retry with:"
        )
        _print_lines(console, items, [command("retry", summary.run_id, "--failed", store=store)], "yellow")
    limiter = max(summary.limited_by.items(), key=lambda item: item[1], default=("unknown", 0.0))[0]
    if limiter != "unknown":
        console.print(Text(f"limited mostly by {LIMITERS[limiter]}, {summary.concurrency} samples in flight"))
    if summary.usage:
        console.print()
        _print_critics(console, summary)
        _print_screens(console, summary)
        _print_usage(console, summary.usage)
        _print_prefix_cache(console, summary)
    steps = next_steps(summary, store)
    if steps:
        console.print()
        _print_lines(console, "next steps", steps, "bold")


def _print_screens(console: Console, summary: "Summary") -> None:
    for one in summary.screens:
        console.print(Text(f"screen {plain(one.screen)} rejected {one.draws:,} draw{'s' * (one.draws > 1)}"))
    if summary.short:
        says = f"{summary.short:,} samples short of the wanted number, of which three times as many were drawn; change"
        console.print(Text(f"{says} the screens or the attribute tables", style="yellow"), soft_wrap=True)


def _headline(summary: "Summary") -> Text:
    line = f"{summary.run_id}: {summary.done:,} of {summary.total:,} samples done"
    line += "".join(
        f", {n:,} {word}"
        for n, word in ((summary.failed, "failed"), (summary.pending, "pending"), (summary.rejected, "rejected"))
        if n
    )
    if summary.items:
        line += f", {summary.items - summary.unjudged:,} of {summary.items:,} rubric items judged"
    line += f", {_reused(summary.reused_from)}" if summary.reused_from else ""
    has_failed = (summary.failed and not summary.done) or (summary.items and summary.unjudged == summary.items)
    return Text(f"{line}, in {duration(summary.seconds)}", style="bold red" if has_failed else "bold")


def _reused(runs: Mapping[str, int]) -> str:
    """How many calls were reused, and from which runs."""
    total = sum(runs.values())
    calls = f"{total:,} call{'s' * (total > 1)} reused"
    if len(runs) == 1:
        return f"{calls} from {next(iter(runs))}"
    named = [f"{count:,} from {run}" for run, count in list(runs.items())[:3]]
    named += [f"{sum(list(runs.values())[3:]):,} from {len(runs) - 3} more"] if len(runs) > 3 else []
    return f"{calls} ({', '.join(named)})"


def next_steps(summary: "Summary", store: str) -> list[str]:
    """Commands that are useful after a run that ended like this."""
    failed = [command("show", summary.failures[0].example, "--why", store=store)] if summary.failures else []
    if not summary.done:
        return failed
    if summary.kind == "evaluation":
        return [*failed, command("eval", "score", summary.run_id, store=store)]
    return [
        *failed,
        command("list", summary.run_id, store=store),
        command("export", summary.run_id, "--stage", "distill", store=store),
        command("export", summary.run_id, "--stage", "refine", store=store),
    ]


def print_runs(console: Console, lines: Sequence["RunLine"]) -> None:
    """The table of `muser runs`."""
    has_scores = any(line.score is not None for line in lines)
    rows = []
    for line in lines:
        tokens = line.tokens_in + line.tokens_out
        counts = (line.done, line.failed, line.pending + line.running, line.calls, tokens)
        started = line.created_at[:16].replace("T", " ")
        status = Text(line.status, style=STATUSES.get(line.status, ""))
        scored = [Text("" if line.score is None else f"{100 * line.score:.1f}")] if has_scores else []
        rows.append([Text(line.id), status, Text(started), *(Text(f"{count:,}") for count in counts), *scored])
    numbers = ("done", "failed", "pending", "calls", "tokens", *(["score"] if has_scores else []))
    _print_columns(console, ("run", "status", "started (UTC)"), numbers, rows)
    if simulated := [line.id for line in lines if line.simulated]:
        console.print(Text(f"simulated (a script replied, not a model): {', '.join(simulated)}", style="dim"))


def _print_failures(console: Console, summary: "Summary", store: str) -> None:
    console.print()
    console.print(Text("failed", style="bold red"))
    for failure in summary.failures:
        where = f" at {failure.node}" if failure.node else ""
        console.print(Text(f"  {failure.samples:,} x {failure.cause_kind}{where}, for example {failure.example}"))
        console.print(Text(_indented(plain(failure.message), 6)))
    _print_lines(console, "  retry with:", [command("retry", summary.run_id, "--failed", store=store)])


def _print_critics(console: Console, summary: "Summary") -> None:
    """What each critic decided about the first answers, and a hint for one that passed them all."""
    from ...graph.verdicts import HINT

    if not summary.critics:
        return
    console.print(Text("verdicts by critic", style="bold"))
    rows = [
        [Text(one.critic), *map(Text, (f"{one.answers:,}", share(one.passed, one.answers), f"{one.words:,}"))]
        for one in summary.critics
    ]
    _print_columns(console, ("critic",), ("answers", "pass", "words (median)"), rows)
    for one in summary.critics:
        if one.always_passes:
            said = f"{one.critic} passed all {one.answers:,} answers: {HINT}"
            for line in paragraph(console, Text(said, style="yellow")):
                console.print(line)
    console.print()


def _print_usage(console: Console, usage: Sequence["RoleUsage"]) -> None:
    rows = [[Text(one.role), *map(Text, _sums([one]))] for one in usage]
    if len(usage) > 1:
        rows.append([Text("all", style="bold"), *map(Text, _sums(usage))])
    console.print(Text("tokens by role", style="bold"))
    numbers = ("calls", "reused", "repairs", "in", "cached", "out", "s/call")
    _print_columns(console, ("role",), numbers, rows)


def _print_prefix_cache(console: Console, summary: "Summary") -> None:
    """The servers' own counters, for servers whose replies do not report cached tokens."""
    if any(one.tokens_cached for one in summary.usage):
        return
    for address, counts in summary.prefix_cache.items():
        found = f"{share(counts['hits'], counts['queries'])} of {counts['queries']:,} prompt tokens cached"
        console.print(Text(f"{found} at {address}, according to its /metrics during this command", style="dim"))


def _sums(usage: Sequence["RoleUsage"]) -> Iterable[str]:
    calls, tokens_in = sum(u.calls for u in usage), sum(u.tokens_in for u in usage)
    yield f"{calls:,}"
    yield f"{sum(u.reused for u in usage):,}"
    yield f"{sum(u.repairs for u in usage):,}"
    yield f"{tokens_in:,}"
    yield share(sum(u.tokens_cached for u in usage), tokens_in)
    yield f"{sum(u.tokens_out for u in usage):,}"
    yield f"{sum(u.seconds for u in usage) / calls:.2f}" if calls else "-"


def _print_columns(console: Console, left: Sequence[str], right: Sequence[str], rows: Sequence[Sequence[Text]]) -> None:
    for line in columns(console, left, right, rows):
        console.print(line)


def _print_lines(console: Console, title: str, lines: Iterable[str], style: str = "") -> None:
    """Each command stays on one line, so that it can be copied."""
    console.print(Text(title, style=style))
    for line in lines:
        console.print(Text(f"    {line}"), soft_wrap=True)


def _indented(text: str, by: int = 2) -> str:
    return "\n".join(" " * by + line for line in text.splitlines())
