"""Commands on attribute tables: `attributes check`, `preview` and `plot` show what personas are drawn from."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

from typer import Argument, Option, Typer

from ..options import Json
from ..printing.console import elapsed, print_json, say, stdout

if TYPE_CHECKING:
    from ...core.recipe import Recipe
    from ...prompts.attributes import AttributeTables
    from ..outputs import AttributesCheck, PairShare, PairShares

SHIPPED = "attributes.yaml"
DRAWN = 40  # values of either attribute in a picture

app = Typer(no_args_is_help=True, rich_markup_mode=None, help="Attribute tables: what simulated users are drawn from.")
TableFile = Annotated[
    str, Argument(metavar="FILE", help="An attribute table, or a recipe; default: the table that ships with muser.")
]


class Named(NamedTuple):
    """A table as a recipe names it: the file, where it is looked for, and the seed of the run."""

    file: str
    folder: Path
    seed: int = 0
    recipe: "Recipe | None" = None


@app.command()
def check(file: TableFile = SHIPPED, json: Json = False) -> None:
    """Check a table and show how often its values are drawn.

    A table is refused if one of its values can never be drawn, or if a persona can have no value left for an attribute.
    All combinations that matter are visited, and no sample is drawn.
    """
    from ...prompts.reachability import check_attributes
    from ..printing.attributes import print_check

    named = _find(file)
    with elapsed():
        checked = _summary(file, check_attributes(named.file, named.folder))
    if json:
        print_json(checked.model_dump(mode="json"))
    else:
        print_check(stdout(), checked)


@app.command()
def preview(
    file: TableFile = SHIPPED,
    *,
    count: Annotated[int, Option("-n", "--samples", min=1, metavar="N", help="Number of personas.")] = 5,
    json: Json = False,
) -> None:
    """Draw personas and show them: those of the run's first samples, if FILE is a recipe."""
    from ...prompts.attributes import load_attributes
    from ...prompts.personas import load_tables
    from ...prompts.sampling import draw_persona
    from ..outputs import DrawnPersona
    from ..printing.attributes import print_personas

    named = _find(file)
    tables = load_tables(named.recipe) if named.recipe else load_attributes(named.file, named.folder)
    drawn = []
    for number in range(1, count + 1):
        persona = draw_persona(tables, named.seed, number)
        drawn.append(DrawnPersona(key=f"s{number:06d}", persona=persona, texts=tables.describe(persona)))
    if json:
        print_json([one.model_dump(mode="json") for one in drawn])
    else:
        print_personas(stdout(), drawn)


@app.command()
def plot(
    first: Annotated[str, Argument(metavar="A", help="An attribute, or one of its notes: condition.chapter.")],
    second: Annotated[str, Argument(metavar="B", help="Another one.")],
    file: TableFile = SHIPPED,
    *,
    output: Annotated[
        str | None, Option("--output", "-o", metavar="FILE", help="Also draw a picture: FILE.png or FILE.svg.")
    ] = None,
    limit: Annotated[int, Option(min=0, metavar="N", help="Pairs to list.")] = 20,
    json: Json = False,
) -> None:
    """Show how often values of two attributes are drawn together, the most frequent pairs first.

    The shares are exact. `ratio` is the share divided by that of independent attributes: 1 where one does not depend
    on the other.
    """
    from ...prompts.attributes import load_attributes
    from ..printing.attributes import print_pairs

    named = _find(file)
    with elapsed():
        found = _pairs(load_attributes(named.file, named.folder), first, second)
    if output:
        _draw(found, Path(output))
    if json:
        print_json(found.model_dump(mode="json"))
    else:
        print_pairs(stdout(), found, limit)


def _find(file: str) -> Named:
    """A recipe is told from a table by its models, or because `attributes` names a file."""
    from ...core.documents import read_document
    from ...core.loading import load_recipe

    data = read_document(Path(file)).data if Path(file).is_file() else None
    if isinstance(data, dict) and ("models" in data or isinstance(data.get("attributes"), str)):
        recipe = load_recipe(file)
        return Named(recipe.attributes, recipe.folder, recipe.seed, recipe)
    return Named(file, Path())


def _summary(file: str, tables: "AttributeTables") -> "AttributesCheck":
    from ...prompts.joint import joint_of
    from ..outputs import AttributeCheck, AttributesCheck

    joint = joint_of(tables)
    attributes = [
        AttributeCheck(
            attribute=name,
            label=tables.labels[name],
            shares=dict(zip(joint.values[name], joint.single[name].tolist(), strict=True)),
        )
        for name in tables.choices
    ]
    never, stratify = len(tables.never), tables.stratify
    return AttributesCheck(file=file, digest=tables.digest, attributes=attributes, never=never, stratify=stratify)


def _pairs(tables: "AttributeTables", first: str, second: str) -> "PairShares":
    from collections import defaultdict

    from ...core.errors import InputError
    from ...prompts.joint import joint_of
    from ..outputs import PairShare, PairShares

    (one, words), (other, more_words) = _words(tables, first), _words(tables, second)
    if one == other:
        raise InputError(f"{first} and {second} are the same attribute; name two")
    shares: dict[tuple[str, str], float] = defaultdict(float)
    rows: dict[str, float] = defaultdict(float)
    columns: dict[str, float] = defaultdict(float)
    for (value, other_value), share in joint_of(tables).shares(one, other).items():
        row, column = words[value], more_words[other_value]
        shares[row, column] += share
        rows[row] += share
        columns[column] += share
    pairs = [
        PairShare(values=(row, column), share=share, ratio=share / (rows[row] * columns[column]) if share else 0)
        for (row, column), share in sorted(shares.items(), key=lambda item: -item[1])
    ]
    return PairShares(attributes=(first, second), pairs=tuple(pairs))


def _words(tables: "AttributeTables", given: str) -> tuple[str, dict[str, str]]:
    """An attribute, and what stands for each of its values: the value itself, or one of its notes."""
    from ...core.errors import InputError
    from ...core.problems import suggestion

    name, dot, note = given.partition(".")
    if name not in tables.choices:
        raise InputError(f"the table has no attribute {name}{suggestion(name, list(tables.choices))}")
    choices = tables.choices[name]
    notes = list(dict.fromkeys(one for choice in choices for one in choice.notes))
    if dot and note not in notes:
        raise InputError(f"no value of {name} has a note {note}{suggestion(note, notes)}")
    return name, {choice.value: choice.notes.get(note, "–") if dot else choice.value for choice in choices}


def _draw(found: "PairShares", path: Path) -> None:
    from ...core.errors import InputError
    from ...viewer.charts import draw_pairs

    if path.suffix not in (".png", ".svg"):
        raise InputError(f"{path}: a picture's file must end in .png or .svg")
    shares = {pair.values: pair.share for pair in found.pairs}
    rows, columns = (_most_frequent(found.pairs, side) for side in (0, 1))
    shown = [[shares[row, column] for column in columns[:DRAWN]] for row in rows[:DRAWN]]
    draw_pairs(rows[:DRAWN], columns[:DRAWN], shown, found.attributes, path)
    for name, values in zip(found.attributes, (rows, columns), strict=True):
        if len(values) > DRAWN:
            say(f"the picture has the {DRAWN} most frequent values of {name}, of {len(values):,}")
    say(f"picture: {path}")


def _most_frequent(pairs: "tuple[PairShare, ...]", side: int) -> list[str]:
    from collections import Counter

    totals: Counter[str] = Counter()
    for pair in pairs:
        totals[pair.values[side]] += pair.share  # type: ignore[assignment]
    return [value for value, _ in totals.most_common()]
