"""`muser coverage`: how well a run covers its attribute tables, and how diverse its queries are; `muser report`."""

from typing import TYPE_CHECKING, Annotated

from typer import Option

from ..loading import named_run
from ..options import Json, RunName, StoreFile
from ..printing.console import DEFAULT_STORE, elapsed, print_json, stdout

if TYPE_CHECKING:
    from ...prompts.joint import Floats
    from ...screens.coverage import Cells
    from ...screens.diversity import Diversity
    from ...store.file.database import Store
    from ...store.records.runs import Run


def coverage(
    run: RunName,
    pairs: Annotated[bool, Option("--pairs", help="Also list all pairs of attributes and all short cells.")] = False,
    *,
    store: StoreFile = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Compare a run with its attribute tables, and measure diversity.

    Counts the accepted samples by value and by cell, which is a pair of values of two attributes. A cell's wanted count
    is the number of accepted samples that were drawn, times the probability of the pair. Cells with a wanted count of
    at least 10 are covered from 95 % of it on.
    """
    from ...screens.coverage import measure_coverage
    from ...store.file.database import Store
    from ...store.queries.coverage import count_accepted
    from ..outputs import CoverageReport
    from ..printing.coverage import print_coverage

    with Store.open(store, create=False) as opened, elapsed():
        found = named_run(opened, run)
        covered = measure_coverage(_cells(opened, found), count_accepted(opened, found.id).topped_up)
        report = CoverageReport(run=found.id, coverage=covered, diversity=_diversity(opened, found))
    if json:
        print_json(report.model_dump(mode="json"))
    else:
        print_coverage(stdout(), report, pairs=pairs)


def report(
    run: RunName,
    output: Annotated[
        str | None, Option("--output", "-o", metavar="FILE", help="The HTML file; default: RUN-report.html.")
    ] = None,
    store: StoreFile = DEFAULT_STORE,
) -> None:
    """Write a run's report as one HTML file, with pictures.

    It has the samples, verdicts, coverage, diversity and cost. `muser pipeline` writes the report of a training.
    """
    from pathlib import Path

    from ...core.errors import MuserError
    from ...pipeline.report.run_page import Measured, RunCharts, write_run_report
    from ...store.file.database import Store
    from ...store.queries.coverage import count_accepted
    from ...viewer.charts import pair_map, value_bars

    with Store.open(store, create=False) as opened, elapsed():
        found = named_run(opened, run)
        diversity, topped_up = _diversity(opened, found), count_accepted(opened, found.id).topped_up
        try:
            measured = Measured(diversity, _cells(opened, found), topped_up)
        except MuserError as error:
            measured = Measured(diversity, problem=error.what)
        path = Path(output or f"{found.id}-report.html")
        write_run_report(opened, found, measured, RunCharts(value_bars, pair_map), path)
    stdout().print(f"report: {path}", soft_wrap=True)


def _cells(store: "Store", run: "Run") -> "Cells":
    from ...prompts.joint import joint_of
    from ...screens.coverage import cells_of, tables_of

    return cells_of(store, run.id, joint_of(tables_of(run)))


def _diversity(store: "Store", run: "Run") -> "Diversity":
    from ...screens.diversity import MOST_TEXTS, measure_diversity
    from ...store.queries.coverage import accepted_queries

    texts = accepted_queries(store, run.id, MOST_TEXTS)
    return measure_diversity(texts, _embedded(texts))


def _embedded(texts: list[str]) -> "Floats | None":
    """The texts' embeddings; None without the extra `data`."""
    from ...core.errors import SettingsError

    try:
        from ...screens.embeddings import embed
    except SettingsError:
        return None
    return embed(texts).astype("float64")
