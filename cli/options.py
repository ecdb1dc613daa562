"""Arguments and options that several commands share."""

from typing import Annotated

from typer import Argument, Option

RecipeFile = Annotated[str, Argument(metavar="RECIPE", help="The recipe file.")]
RunName = Annotated[str, Argument(metavar="RUN", help="Name of a run, as listed by `muser runs`.")]
SampleName = Annotated[str, Argument(metavar="SAMPLE", help="RUN/KEY, or only KEY if a single run has it.")]
Set = Annotated[
    list[str] | None,
    Option("--set", metavar="KEY=VALUE", help="Override a setting: --set models.teacher.max_tokens=4096. Repeatable."),
]
RecipeStore = Annotated[
    str | None, Option("--store", metavar="FILE", help="Database file; default: the recipe's store.")
]
StoreFile = Annotated[str, Option("--store", metavar="FILE", help="Database file.")]
Json = Annotated[bool, Option("--json", help="Print JSON and nothing else on stdout.")]
Where = Annotated[str, Option("--where", metavar="FILTER", help="Only samples that match this filter (syntax above).")]
Search = Annotated[
    str, Option("--search", metavar="WORDS", help='Only samples whose texts contain all WORDS; "…" is a phrase.')
]
Sort = Annotated[str, Option("--sort", metavar="NAME", help="Sort by a filter's name; -NAME: descending.")]
