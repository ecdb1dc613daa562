"""The `muser` command: its subcommands, exit codes and error handling."""

import sys
from pathlib import Path
from typing import Annotated

from typer import Exit, Option, Typer

from .commands import (
    agreement,
    attributes,
    coverage,
    critics,
    db,
    decontaminate,
    demo,
    diff,
    evaluate,
    failures,
    fetch,
    pipeline,
    preview,
    provenance,
    recipe,
    replay,
    run,
    sample,
    score,
    serve,
    simulate,
    view,
)
from .commands.list import list_samples
from .printing.console import say

EPILOG = """\b
Exit codes:
  0    success
  1    error: the message says what to do
  2    wrong usage
  3    finished, but samples failed, items lack a verdict, or texts are leaked
  4    stopped with samples pending: a limit, or no response from the endpoint
  130  interrupted

Results go to stdout, progress and messages to stderr. Nothing that muser or its models say is medical advice.
"""

app = Typer(
    name="muser",
    help="Simulate medical queries, answer, critique and refine them, on any OpenAI-compatible endpoint.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Rich doubles the time of --help, and its frames are noise in a pipe.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (
    demo.demo,
    recipe.init,
    recipe.check,
    recipe.graph,
    recipe.schema,
    preview.preview,
    run.run,
    run.retry,
    replay.replay,
    replay.promote,
    pipeline.pipeline,
    pipeline.train,
    run.runs,
    sample.show,
    sample.export,
    coverage.coverage,
    coverage.report,
    diff.diff,
    critics.critics,
    provenance.provenance,
    decontaminate.decontaminate,
    fetch.model,
    fetch.data,
    serve.serve,
    simulate.simulate,
    view.view,
):
    app.command()(command)
app.command("list")(list_samples)
evaluations = Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Score models on a benchmark in HealthBench's format."
)
evaluations.command()(evaluate.run)
evaluations.command()(evaluate.answer)
evaluations.command()(evaluate.grade)
evaluations.command()(evaluate.regrade)
evaluations.command()(score.score)
evaluations.command()(agreement.agreement)
evaluations.command()(failures.failures)
app.add_typer(evaluations, name="eval")
app.add_typer(attributes.app, name="attributes")
app.add_typer(db.app, name="db")


def _print_version(wanted: bool) -> None:
    from .. import __version__

    if wanted:
        sys.stdout.write(f"muser {__version__}\n")
        raise Exit


@app.callback()
def options(
    version: Annotated[
        bool, Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of muser itself, given before a command."""


def main(arguments: list[str] | None = None) -> None:
    """Runs a command and exits. A MuserError is one message; any other traceback is a bug."""
    # As `python -m` does, so that critics named by import path can be modules in the current directory.
    sys.path.append(str(Path.cwd()))
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal's encoding lacks must not end a command that has done its work.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        app(arguments, prog_name="muser")
    except Exception as error:
        from ..core.errors import EndpointOverloaded, EndpointTimeout, EndpointUnreachable, MuserError
        from .printing.summaries import Code

        if not isinstance(error, MuserError):
            raise
        say(f"muser: {error}")
        # Same exit code as a run that lost its endpoint: rerun the command when the endpoint is back.
        is_unavailable = isinstance(error, EndpointUnreachable | EndpointOverloaded | EndpointTimeout)
        sys.exit(Code.STOPPED if is_unavailable else Code.ERROR)
