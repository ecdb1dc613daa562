"""Commands on finished work: `show` one sample, `export` a run's training rows."""

from typing import TYPE_CHECKING, Annotated, Literal

from typer import Option

from ..options import Json, RunName, SampleName, StoreFile
from ..printing.console import DEFAULT_STORE, command, print_json, stdout

if TYPE_CHECKING:
    from ...store.file.database import Store


def show(
    sample: SampleName,
    reasoning: Annotated[bool, Option("--reasoning", help="Print the reasoning in full.")] = False,
    calls: Annotated[bool, Option("--calls", help="Print each call's exact messages and raw reply.")] = False,
    why: Annotated[bool, Option("--why", help="Only explain why it ended as it did, with evidence.")] = False,
    store: StoreFile = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Show everything that happened to one sample.

    Persona, query, response, critiques, the refinement as a word diff against the response, calls.
    """
    from ...store.file.database import Store
    from ...store.records.ledger import calls_of
    from ...store.records.samples import find_sample, get_trace

    with Store.open(store, create=False) as opened:
        found = find_sample(opened, sample)
        if why:
            _show_why(opened, found, json)
            return
        trace, made = get_trace(opened, found), calls_of(opened, found)
    if json:
        from ..outputs import SampleWithCalls

        print_json(SampleWithCalls(**vars(trace), calls=tuple(made)).model_dump(mode="json"))
        return
    from ..printing.traces import print_trace

    print_trace(stdout(), trace, made, reasoning=reasoning, messages=calls)


def _show_why(store: "Store", sample: str, json: bool) -> None:
    from ...store.queries.reasons import explain
    from ..printing.traces import print_reason

    reason = explain(store, sample)
    if json:
        print_json(reason.model_dump(mode="json"))
        return
    print_reason(stdout(), reason)
    again = {"failed": ("retry", sample.rpartition("/")[0], "--failed")}.get(reason.status)
    look = [("show", sample, "--calls"), *([again] if again else [])]
    for words in look:
        stdout().print(f"    {command(*words, store=str(store.path))}", soft_wrap=True)


def export(
    run: RunName,
    stage: Annotated[
        Literal["distill", "refine"],
        Option(help="distill: query and the teacher's response; refine: query, composed reasoning, refined answer."),
    ],
    out: Annotated[str | None, Option(metavar="FILE", help="File to write; default: RUN-STAGE.jsonl.")] = None,
    store: StoreFile = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Write a run's training rows to a JSONL file.

    The rows have TRL's conversational form.
    """
    from pathlib import Path

    from ...store.file.database import Store
    from ...store.queries.export import export_rows
    from ..loading import named_run

    with Store.open(store, create=False) as opened:
        artifact = export_rows(opened, named_run(opened, run).id, stage, Path(out or f"{run}-{stage}.jsonl"))
    if json:
        print_json(artifact.model_dump(mode="json"))
    else:
        stdout().print(f"{artifact.meta.get('rows')} rows of stage {stage} in {artifact.path}", soft_wrap=True)
