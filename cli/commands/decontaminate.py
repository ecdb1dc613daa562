"""`muser decontaminate`: which texts of a run, or of training rows, copy a benchmark."""

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option

from ..options import Json, StoreFile
from ..printing.console import DEFAULT_STORE, print_json, stdout

if TYPE_CHECKING:
    from ...screens.matches import Decontamination, Suspect
    from ...store.file.database import Store


def decontaminate(
    what: Annotated[str, Argument(metavar="RUN|ROWS", help="Name of a run, or a file of training rows.")],
    against: Annotated[
        list[str], Option("--against", metavar="FILE", help="Benchmark in HealthBench's format. Repeatable.")
    ],
    allow: Annotated[
        str | None, Option("--allow", metavar="FILE", help="Hashes of reviewed matches to leave out, one a line.")
    ] = None,
    limit: Annotated[int, Option(min=0, metavar="N", help="Matches to show.")] = 10,
    self_test: Annotated[
        bool, Option("--self-test", help="Instead, plant copies of the benchmark and count those that are found.")
    ] = False,
    store: StoreFile = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Find texts that copy a benchmark: its prompts, criteria or ideal completions.

    Three nets find words in a row, similar wording in any order, and similar meaning. The store records the result, and
    the cards of models trained on the run or the rows show it. Exit code 3 if there are matches that are not allowed.
    """
    from ...screens.decontamination import Benchmark
    from ...screens.matches import read_allowed
    from ...screens.planting import score_nets
    from ...screens.references import read_references
    from ...store.file.database import Store
    from ..printing.matches import print_comparison, print_scores
    from ..printing.progress import telling
    from ..printing.summaries import Code

    files, allowed = [Path(file) for file in against], read_allowed(Path(allow)) if allow else set[str]()
    rows = Path(what) if Path(what).is_file() else None
    with nullcontext() if rows and not Path(store).is_file() else Store.open(store, create=False) as opened:
        suspects = _suspects(opened, what, rows)
        benchmark = Benchmark(read_references(files))
        if self_test:
            own = [suspect.text for suspect in suspects if suspect.part == "query"]
            scores = score_nets(own, benchmark, telling("comparing", "texts"))
            if json:
                print_json([score.model_dump() for score in scores])
            else:
                print_scores(stdout(), scores)
            return
        found = benchmark.compare(what, files, suspects, allowed)
        if opened is not None:
            _record(opened, found, rows)
    if json:
        print_json(found.model_dump(mode="json"))
    else:
        print_comparison(stdout(), found, limit)
    if found.matches:
        raise Exit(Code.FAILED_SAMPLES)


def _suspects(store: "Store | None", what: str, rows: Path | None) -> "Iterator[Suspect]":
    """The texts of the file, or else of the run, with progress."""
    from ...core.jsonl import read_lines
    from ...screens.suspects import row_suspects, run_suspects
    from ...store.records.samples import counts
    from ..loading import named_run

    if rows:
        return _followed(row_suspects(rows), sum(1 for _ in read_lines(rows)))
    assert store is not None  # noqa: S101 - only rows do without
    run = named_run(store, what)
    return _followed(run_suspects(store, run.id), counts(store, run.id)["done"])


def _followed(suspects: "Iterable[Suspect]", total: int) -> "Iterator[Suspect]":
    from ..printing.progress import telling

    tell, done, last = telling("comparing", "samples"), 0, ""
    for suspect in suspects:
        if suspect.where != last:
            tell(done, total)
            done, last = done + 1, suspect.where
        yield suspect


def _record(store: "Store", found: "Decontamination", rows: Path | None) -> None:
    """Record the comparison; of rows, by the digest of their file, by which a training finds it."""
    from ...core.hashing import digest, file_digest
    from ...store.records.artifacts import Artifact, record_artifact

    meta = found.model_dump(mode="json", exclude={"matches"}) | {"matches": len(found.matches)}
    record_artifact(
        store,
        Artifact(
            kind="decontamination",
            name=found.of,
            path=next(iter(found.against)),
            digest=file_digest(rows) if rows else digest(meta),
            run_id=None if rows else found.of,
            meta=meta,
        ),
    )
