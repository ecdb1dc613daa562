"""The arguments and options that several commands take, each said once."""

from typing import Annotated

from typer import Argument, Option

RecipeFile = Annotated[str, Argument(metavar="RECIPE", help="The recipe file.")]
RunName = Annotated[str, Argument(metavar="RUN", help="A run, as `muser runs` lists it.")]
SampleName = Annotated[str, Argument(metavar="SAMPLE", help="RUN/KEY, or KEY alone where only one run has it.")]
Set = Annotated[
    list[str] | None,
    Option("--set", metavar="KEY=VALUE", help="Change one setting, for example --set models.teacher.max_tokens=4096."),
]
RecipeStore = Annotated[
    str | None, Option("--store", metavar="FILE", help="The database; the recipe's own by default.")
]
StoreFile = Annotated[str, Option("--store", metavar="FILE", help="The database.")]
Json = Annotated[bool, Option("--json", help="Print JSON and nothing else on stdout.")]
Where = Annotated[str, Option("--where", metavar="FILTER", help="Only samples that this holds for; see muser list -h.")]
Search = Annotated[
    str, Option("--search", metavar="WORDS", help='Only those whose texts have all WORDS; "…" is a phrase.')
]
Sort = Annotated[str, Option("--sort", metavar="NAME", help="By a filter's name; -NAME from the highest down.")]
