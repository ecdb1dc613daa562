"""`replay`: samples rerun from a node or critic with other prompts or models, compared with the originals."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Exit, Option

from ..options import Json, Set, StoreFile
from ..printing.console import DEFAULT_STORE, command, print_json, say, stdout

if TYPE_CHECKING:
    from rich.console import Console

    from ...core.comparison import Comparison
    from ...core.recipe import Recipe
    from ...core.types import Critique
    from ...graph.progress import Summary
    from ...graph.replay import Replayed
    from ...store.file.database import Store
    from ...store.records.samples import Trace


def replay(
    sample: Annotated[list[str] | None, Argument(metavar="SAMPLE", help="RUN/KEY; several must be of one run.")] = None,
    *,
    node: Annotated[
        str,
        Option(
            "--from",
            metavar="NODE",
            help="Where to start: persona, respond, a critic's name, critics (all), or refine.",
        ),
    ] = "critics",
    number: Annotated[
        int | None, Option("--round", min=1, metavar="N", help="Round of that node; default: the last.")
    ] = None,
    change: Set = None,
    run: Annotated[str | None, Option("--run", metavar="RUN", help="Replay samples of this run instead.")] = None,
    where: Annotated[
        str, Option(metavar="FILTER", help="Only matching samples of --run; `muser list -h` has the syntax.")
    ] = "",
    limit: Annotated[int, Option(min=1, metavar="N", help="Replay at most N samples of --run.")] = 50,
    store: StoreFile = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Rerun samples from a node, with changes, and compare.

    Only the node and what follows it are rerun; the originals stay unchanged. The forks form a run of their own that
    `show`, `list`, `diff` and `export` accept like any other. Prompt files edited since the run count as changes.
    """
    from ...core.loading import parse_recipe
    from ...graph.replay import run_of
    from ...store.file.database import Store

    with Store.open(store, create=False) as opened:
        samples = _samples(opened, sample or [], run, where, limit)
        parent = run_of(opened, samples)
        settings = parse_recipe(
            parent.recipe, parent.folder, _from_here(opened, change), source=f"the recipe of {parent.id}"
        )
        words = [word for each in change or [] for word in ("--set", each)]
        named = ["--run", run, *(["--where", where] if where else []), "--limit", str(limit)] if run else samples
        place = ["--from", node, *(["--round", str(number)] if number else [])]
        again = command("replay", *named, *place, *words, store=store)
        made, summary = replay_shown(settings, opened, samples, node, again, number)
        compared = _compare(opened, made) if len(made.forks) > 1 else None
        if json:
            found = {"comparison": compared.model_dump(mode="json")} if compared else {}
            print_json(made.model_dump(mode="json") | {"summary": summary.to_dict()} | found)
        else:
            print_replayed(stdout(), opened, made, summary, again, compared)
    from ..printing.summaries import exit_code

    raise Exit(exit_code(summary))


def promote(
    fork: Annotated[list[str], Argument(metavar="FORK", help="A fork, or a run of forks: all that are finished.")],
    store: StoreFile = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Copy a run, with its forked samples in place of the originals.

    The copy, RUN-promoted, contains the run's finished samples and exports like any other run. Nothing else is changed.
    """
    from ...store.file.database import Store
    from ...store.records.promotion import promote as promote_forks

    with Store.open(store, create=False) as opened:
        made = promote_forks(opened, fork)
    if json:
        print_json(made.model_dump(mode="json"))
        return
    console = stdout()
    console.print(f"{made.run_id}: {made.samples:,} samples of {made.parent}, {len(made.replaced):,} of them forks")
    console.print(f"rows: {command('export', made.run_id, '--stage', 'refine', store=store)}", soft_wrap=True)


def replay_shown(
    settings: "Recipe", store: "Store", samples: Sequence[str], node: str, again: str, number: int | None = None
) -> "tuple[Replayed, Summary]":
    """Runs the replay with its progress on stderr; models without an address are served for the duration."""
    from ...graph.replay import replay as replay_samples
    from .run import serve_and_run, take_to_end

    found: list[Replayed] = []

    async def act(settings: "Recipe", store: "Store", **how: Any) -> "Summary":
        made, summary = await replay_samples(settings, store, samples, node=node, number=number, **how)
        found.append(made)
        return summary

    roles = [*(f"critics.{name}" for name in settings.critics), "refiner"] if settings.critics else []
    roles = {"persona": ["persona", "responder"], "respond": ["responder"]}.get(node, []) + roles
    summary = take_to_end(serve_and_run(act, settings, store, roles), again)
    return found[0], summary


def print_replayed(
    console: "Console",
    store: "Store",
    made: "Replayed",
    summary: "Summary",
    again: str,
    compared: "Comparison | None",
) -> None:
    """What was changed, the result, and commands to continue with."""
    from ..printing.summaries import print_summary
    from .diff import print_comparison

    path = str(store.path)
    if not compared:
        node = f"{made.node} in round {made.round}" if made.round else made.node
        console.print(
            f"{made.parent} rerun from {node}, with these changes:" if made.changes else "nothing was changed"
        )
        for line in made.changes:
            console.print(f"  {line}", soft_wrap=True)
    for sample, why in made.refused.items():
        say(f"{sample} was skipped: {why}")
    calls = "1 call" if made.calls == 1 else f"{made.calls:,} calls"
    console.print(f"{calls} made, {made.reused:,} reused")
    if summary.failed or summary.pending:
        console.print()
        print_summary(console, summary, again, path)
    if compared:
        console.print()
        print_comparison(console, compared, path)
    if len(made.forks) == 1 and summary.done:
        before, after = next(iter(made.forks.items()))
        print_fork(console, store, before, after)
        console.print(f"\nin full: {command('show', after, store=path)}", soft_wrap=True)
    elif summary.done:
        console.print(f"\nrows: {command('export', made.run_id, '--stage', 'refine', store=path)}", soft_wrap=True)


def _compare(store: "Store", made: "Replayed") -> "Comparison | None":
    """The forks compared with their originals; None if the statistics packages are not installed."""
    from ...core.errors import SettingsError

    try:
        from ...evals.comparison import compare_runs
    except SettingsError as error:
        say(f"not compared: {error}")
        return None
    return compare_runs(store, made.parent, made.run_id)


def print_fork(console: "Console", store: "Store", sample: str, fork: str) -> None:
    """A sample and its fork side by side: figures in columns, texts as word diffs."""
    from rich.rule import Rule
    from rich.text import Text

    from ...store.records.samples import get_trace
    from ..printing.layout import columns, paragraph
    from ..printing.text import plain
    from ..printing.traces import diffed

    console.print()
    before, after = get_trace(store, sample), get_trace(store, fork)
    figures = [[Text(cell) for cell in row] for row in [*_figures(before, after), _tokens(store, sample, fork)]]
    for line in columns(console, ("",), (before.id, after.id), figures):
        console.print(line)
    for title, old, new in _texts(before, after):
        console.print()
        console.print(Rule(Text(title, style="bold"), align="left", style="dim"))
        same, added = Text("the same", style="dim"), Text(plain(new))
        for part in paragraph(console, same if old == new else diffed(console, old, new) if old else added):
            console.print(part)


def _figures(before: "Trace", after: "Trace") -> "list[tuple[str, ...]]":
    old, new = _last(before.critiques), _last(after.critiques)
    verdicts = [
        (name, *(critiques[name].verdict if name in critiques else "–" for critiques in (old, new)))
        for name in dict.fromkeys([*old, *new])
    ]
    return [
        ("status", before.status, after.status),
        *verdicts,
        ("words of the answer", *(f"{len(_answer(trace).split()):,}" for trace in (before, after))),
    ]


def _tokens(store: "Store", *samples: str) -> tuple[str, ...]:
    """Tokens of the roles that both called: a fork has no calls of the nodes before it."""
    from collections import Counter

    from ...store.records.ledger import calls_of

    spent: list[Counter[str]] = []
    for sample in samples:
        spent.append(Counter())
        for call in calls_of(store, sample):
            spent[-1][call.role] += call.reply.usage.tokens_in + call.reply.usage.tokens_out
    both = set.intersection(*map(set, spent))
    return ("tokens of the rerun roles", *(f"{sum(one[role] for role in both):,}" for one in spent))


def _texts(before: "Trace", after: "Trace") -> list[tuple[str, str, str]]:
    old, new = _last(before.critiques), _last(after.critiques)
    asked = [("query", before.query or "", after.query or "")] if before.query != after.query else []
    said = (before.response.answer if before.response else "", after.response.answer if after.response else "")
    responded = [("response", *said)] if said[0] != said[1] else []
    critiques = [
        (name, old[name].rationale if name in old else "", new[name].rationale)
        for name in new
        if name not in old or old[name] != new[name]
    ]
    return [*asked, *responded, *critiques, ("answer", _answer(before), _answer(after))]


def _last(critiques: Sequence["Critique"]) -> Mapping[str, "Critique"]:
    return {critique.critic: critique for critique in critiques}


def _answer(trace: "Trace") -> str:
    made = trace.refinement or trace.response
    return made.answer if made else ""


def _samples(store: "Store", named: Sequence[str], run: str | None, where: str, limit: int) -> list[str]:
    from ...core.errors import InputError
    from ...store.queries.listing import list_samples
    from ...store.records.samples import find_sample
    from ..loading import named_run

    if bool(named) == bool(run) or (where and not run):
        raise InputError("name samples, or a run with --run and optionally --where", where="muser replay")
    if run is None:
        return [find_sample(store, one) for one in named]
    found = list_samples(store, named_run(store, run).id, where, limit=limit)
    if not found.samples:
        raise InputError(f"no sample of {run} matches {where!r}", where=str(store.path), todo="see `muser list`")
    if found.total > len(found.samples):
        say(f"the first {len(found.samples):,} of {found.total:,} samples; raise --limit for more")
    return [line.id for line in found.samples]


def _from_here(store: "Store", changes: Sequence[str] | None) -> list[str]:
    """The changes, with prompt files resolved against the current directory and copied beside the store."""
    return [_with_kept_prompt(store, change) for change in changes or []]


def _with_kept_prompt(store: "Store", change: str) -> str:
    from json import dumps

    from ...prompts.templates import load_prompt

    key, _, value = change.partition("=")
    section, _, name = key.partition(".")
    is_prompt = section == "prompts" or (section == "critics" and name.endswith(".prompt"))
    if not is_prompt or not (file := Path(value)).is_file():
        return change
    # Loaded here, so that an error names the file as it was typed.
    load_prompt(value, Path(), name if section == "prompts" else key.removesuffix(".prompt"))
    is_kept = file.resolve().parent == _kept_prompts(store)
    kept = file.resolve() if is_kept else keep_prompt(store, file.stem, file.read_text(encoding="utf-8"))
    return f"{key}={dumps(str(kept))}"


def keep_prompt(store: "Store", name: str, text: str) -> Path:
    """A prompt copied to a file beside the store, named by its content; forks survive edits of the original."""
    from ...core.files import open_private
    from ...core.hashing import digest

    folder = _kept_prompts(store)
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{name}-{digest(text)[:12]}.md"
    with open_private(path, "w") as file:
        file.write(text)
    return path


def _kept_prompts(store: "Store") -> Path:
    return Path(f"{store.path}-prompts").resolve()
