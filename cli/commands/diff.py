"""`diff`: what differs between two runs, and which samples changed most."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from ..options import Json, StoreFile
from ..printing.console import DEFAULT_STORE, command, print_json, stdout

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from ...core.comparison import Comparison, Difference, Pair

MORE = {"higher": "more pass", "lower": "more revise"}


def diff(
    first: Annotated[str, Argument(metavar="RUN_A", help="Name of a run, as listed by `muser runs`.")],
    second: Annotated[
        str, Argument(metavar="RUN_B", help="The run to compare it with, for example one of its replays.")
    ],
    limit: Annotated[int, Option(min=0, metavar="N", help="How many of the most changed samples to list.")] = 10,
    store: StoreFile = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Compare two runs sample by sample.

    Two samples match if one was made from the other, both were made from the same one, or their keys are equal. Each
    critic's last verdict counts. A difference within chance is reported as "no difference shown" (McNemar's exact test
    for verdicts, bootstrap and permutation tests for the rest).
    """
    from ...evals.comparison import compare_runs
    from ...store.file.database import Store

    with Store.open(store, create=False) as opened:
        compared = compare_runs(opened, first, second, shown=limit)
    if json:
        print_json(compared.model_dump(mode="json"))
    else:
        print_comparison(stdout(), compared, store)


def print_comparison(console: "Console", compared: "Comparison", store: str) -> None:
    """The comparison in tables, and commands that show its first sample on both sides."""
    from rich.text import Text

    from ..printing.layout import columns

    for heading in _heading(compared):
        console.print(Text(heading), soft_wrap=True)
    if compared.verdicts:
        console.print()
        names = ("to pass", "to revise", "pairs", "p")
        for line in columns(console, ("last verdicts", ""), names, list(_flips(compared))):
            console.print(line)
    if compared.length:
        console.print()
        names = ("before", "after", "difference", "p")
        for line in columns(
            console, (f"means over {compared.measured:,} pairs", ""), names, list(_differences(compared))
        ):
            console.print(line)
        console.print(f"{compared.changed:.1%} of the words in the final answers changed")
    if compared.look_first:
        console.print()
        rows = [_pair_cells(pair) for pair in compared.look_first]
        for line in columns(console, ("look at first", "verdicts"), ("words changed", "characters"), rows):
            console.print(line)
        pair = compared.look_first[0]
        for sample in (pair.first, pair.second):
            console.print(Text(f"    {command('show', sample, store=store)}"), soft_wrap=True)


def _heading(compared: "Comparison") -> Iterator[str]:
    yield f"{compared.first} → {compared.second}"
    yield from (f"  {line}" for line in compared.changes or ("the recipes are the same",))
    yield ""
    only = [f"{n:,} done only in {run}" for n, run in zip(compared.done_only, _runs(compared), strict=True) if n]
    yield ", ".join([f"{compared.matched:,} samples match, {compared.compared:,} done in both", *only])
    unmatched = [
        f"{n - compared.matched:,} of {run}"
        for n, run in zip(compared.samples, _runs(compared), strict=True)
        if n > compared.matched
    ]
    if unmatched:
        yield f"without a match: {', '.join(unmatched)}"
    same = f"{compared.same_query:,} have the same query and {compared.same_answer:,} the same answer"
    yield f"of those done in both, {same}"
    if 2 * compared.same_query < compared.compared:
        yield "most queries differ between the runs, which may explain the differences below"
    if compared.measured < compared.compared:
        yield f"texts and tokens are compared on {compared.measured:,} pairs, sampled evenly"


def _runs(compared: "Comparison") -> tuple[str, str]:
    return compared.first, compared.second


def _flips(compared: "Comparison") -> "Iterator[list[Text]]":
    from rich.text import Text

    for critic, flips in compared.verdicts.items():
        shown = MORE.get(flips.verdict, flips.verdict)
        numbers = (f"{flips.gained:,}", f"{flips.lost:,}", f"{flips.n:,}", _p(flips.p))
        yield [Text(critic), Text(shown, style=_style(flips.verdict)), *map(Text, numbers)]


def _differences(compared: "Comparison") -> "Iterator[list[Text]]":
    from rich.text import Text

    measures: tuple[tuple[str, Difference | None], ...] = (
        ("characters", compared.length),
        ("tokens", compared.tokens),
    )
    for name, found in measures:
        if found:
            interval = f"{found.difference:+,.0f} ({found.low:+,.0f} to {found.high:+,.0f})"
            numbers = (f"{found.first:,.0f}", f"{found.second:,.0f}", interval, _p(found.p))
            yield [Text(name), Text(found.verdict, style=_style(found.verdict)), *map(Text, numbers)]


def _pair_cells(pair: "Pair") -> "list[Text]":
    from rich.text import Text

    to = {verdict: [flip.critic for flip in pair.flips if flip.after == verdict] for verdict in ("pass", "revise")}
    flips = "; ".join(f"to {verdict}: {', '.join(critics)}" for verdict, critics in to.items() if critics)
    before, after = pair.length
    return [Text(pair.second), Text(flips or "the same"), Text(f"{pair.changed:.0%}"), Text(f"{before:,} → {after:,}")]


def _style(verdict: str) -> str:
    return "dim" if verdict == "no difference shown" else "bold"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
