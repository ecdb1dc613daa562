"""`critics`: what a run's critics did, how stable their verdicts are, and which planted faults they find."""

from typing import TYPE_CHECKING, Annotated

from typer import Exit, Option

from ..loading import named_run
from ..options import Json, RunName, Set, StoreFile
from ..printing.console import DEFAULT_STORE, command, print_json, say, stdout

if TYPE_CHECKING:
    from ...graph.progress import Summary
    from ...store.file.database import Store
    from ...store.records.runs import Run


def critics(
    run: RunName,
    reask: Annotated[
        int | None,
        Option("--reask", min=1, metavar="N", help="Ask about up to 100 answers again, N times with other seeds."),
    ] = None,
    planted: Annotated[
        bool, Option("--planted", help="Ask about answers with planted faults, and about the same without.")
    ] = False,
    change: Set = None,
    store: StoreFile = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Show what the critics of a run did.

    How often each asked for a revision, also by the persona's attributes; how many of the refined answers' new words
    its rationales have; and by how many words refining lengthened the answers. --reask shows how stable its verdicts
    are, --planted how many faults of its facet it finds: it must ask for a revision and name the fault. Both make
    calls, stored in runs of their own (RUN-reask, RUN-planted), so a repeated command makes only the missing ones.
    """
    from ...evals.critics import detections
    from ...store.file.database import Store
    from ...store.queries.critics import critic_accounts, stability
    from ..outputs import CriticsReport
    from ..printing.critics import print_critics
    from ..printing.summaries import exit_code

    with Store.open(store, create=False) as opened:
        asked = named_run(opened, run)
        words = [word for each in change or [] for word in ("--set", each)]
        words += [*(["--reask", str(reask)] if reask else []), *(["--planted"] if planted else [])]
        again = command("critics", run, *words, store=store)
        summaries = _ask(opened, asked, reask, planted, change or [], again)
        found = CriticsReport(
            run=asked.id,
            critics=critic_accounts(opened, asked.id),
            stability=stability(opened, asked.id),
            planted=detections(opened, asked.id),
        )
    if json:
        print_json(found.model_dump(mode="json"))
    elif found.critics:
        print_critics(stdout(), found)
    else:
        say(f"no finished sample of {asked.id} was criticised")
    unfinished = [summary for summary in summaries if summary.failed or summary.pending]
    for summary in unfinished:
        say(f"{summary.run_id}: {summary.failed:,} failed, {summary.pending:,} pending; repeat with: {again}")
    raise Exit(max((exit_code(summary) for summary in unfinished), default=0))


def _ask(
    store: "Store", run: "Run", reask: int | None, planted: bool, change: list[str], again: str
) -> "list[Summary]":
    from functools import partial

    from ...core.loading import parse_recipe
    from ...evals.critics import ask_again, ask_planted
    from .run import serve_and_run, take_to_end

    if not (reask or planted):
        return []
    recipe = parse_recipe(run.recipe, run.folder, change, source=f"the recipe of {run.id}")
    work = [partial(ask_again, run_id=run.id, times=reask)] if reask else []
    work += [partial(ask_planted, run_id=run.id)] if planted else []
    return [take_to_end(serve_and_run(act, recipe, store, recipe.critic_roles()), again) for act in work]
