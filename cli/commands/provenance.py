"""`provenance`: traces a training row or a model back to its samples, and a sample forward to its rows and models."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from typer import Argument

from ..options import Json, StoreFile
from ..printing.console import DEFAULT_STORE, command, print_json, stdout

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from ...store.queries.provenance import ArtifactLineage, RowLineage, SampleLineage
    from ...store.records.artifacts import Artifact


def provenance(
    what: Annotated[
        str,
        Argument(
            metavar="WHAT",
            help="A row (FILE:LINE), an artifact (its id, path, or NAME@STAGE), or a sample (RUN/KEY).",
        ),
    ],
    store: StoreFile = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Show where something comes from and what was made from it.

    Traces a training row back to its sample, a model back to the samples that trained it, and a sample forward to every
    row and model made from it. --json lists every sample.
    """
    from ...store.file.database import Store
    from ...store.queries.provenance import ArtifactLineage, RowLineage, trace_lineage
    from ...store.records.artifacts import samples_of

    with Store.open(store, create=False) as opened:
        found = trace_lineage(opened, what)
        if json:
            from ..outputs import ArtifactProvenance

            if isinstance(found, ArtifactLineage) and (first := found.nodes[0].artifact.id) is not None:
                found = ArtifactProvenance(**vars(found), samples=tuple(samples_of(opened, first)))
            print_json(found.model_dump(mode="json"))
            return
    if isinstance(found, ArtifactLineage):
        print_artifact(stdout(), found, store)
    elif isinstance(found, RowLineage):
        print_row(stdout(), found, store)
    else:
        print_sample(stdout(), found, store)


def print_row(console: "Console", row: "RowLineage", store: str) -> None:
    """A row, whether it still matches the store, and its sample."""
    console.print(f"{row.path}:{row.line}", soft_wrap=True)
    if row.stage:
        console.print(f"  a row of stage {row.stage}; it matches the store")
    else:
        console.print("  differs from the store: the row was edited, or its sample was rerun")
    console.print()
    print_sample(console, row.sample, store)


def print_sample(console: "Console", sample: "SampleLineage", store: str) -> None:
    """A sample, what it was made from, and what was made from it."""
    from rich.text import Text

    console.print(Text.assemble((sample.sample, "bold"), f" · {sample.status}"))
    for name in sample.made_from:
        console.print(f"  made from {name}", soft_wrap=True)
    for name in sample.made_into:
        console.print(f"  made into {name}", soft_wrap=True)
    console.print(f"    {command('show', sample.sample, store=store)}", soft_wrap=True)
    console.print()
    console.print("rows" if sample.rows else "in no exported file of training rows")
    for use in sample.rows:
        of = "" if use.sample == sample.sample else f", of {use.sample}"
        gone = ", since overwritten" if use.overwritten else ""
        console.print(f"  {use.path}:{use.line} (stage {use.stage}{of}{gone})", soft_wrap=True)
    if sample.artifacts:
        console.print("used in")
        for one in sample.artifacts:
            console.print(Text.assemble(f"  {one.id}  ", (_name(one), "bold"), f"  {one.path}"), soft_wrap=True)


def print_artifact(console: "Console", lineage: "ArtifactLineage", store: str) -> None:
    """The tree of what an artifact was made from, down to runs, with a sample of each."""
    for line in _tree(lineage):
        console.print(line, soft_wrap=True)
    examples = [source.example for node in lineage.nodes for source in node.sources]
    if examples:
        console.print(f"\nfor example: {command('show', examples[0], store=store)}", soft_wrap=True)


def _tree(lineage: "ArtifactLineage") -> "Iterator[Text]":
    from rich.text import Text

    nodes = {node.artifact.id: node for node in lineage.nodes}
    seen: set[int | None] = set()

    def lines(number: int | None, depth: int) -> "Iterator[Text]":
        node, indent = nodes[number], "  " * depth
        one = node.artifact
        above = " (see above)" if number in seen else ""
        yield Text.assemble(f"{indent}{number}  ", (_name(one), "bold"), f"  {one.path}{above}")
        if above:
            return
        seen.add(number)
        for source in node.sources:
            origin = f", made from those of {source.made_from}" if source.made_from else ""
            yield Text(f"{indent}   {source.samples:,} samples of {source.run}{origin}")
        for parent in node.parents:
            yield from lines(parent, depth + 1)

    yield from lines(lineage.nodes[0].artifact.id, 0)


def _name(artifact: "Artifact") -> str:
    if artifact.kind in ("model", "adapter"):
        return f"{artifact.kind} {artifact.name}@{artifact.stage}"
    return f"{artifact.kind} {artifact.name}"
