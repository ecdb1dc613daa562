"""`muser eval agreement`: how far judges of the same answers agree, with each other and with people."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from ..options import Json, StoreFile
from ..printing.console import DEFAULT_STORE, print_json, stdout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...evals.examples import Example
    from ...store.file.database import Store


def agreement(
    judges: Annotated[
        list[str],
        Argument(metavar="RUN|FILE...", help="Evaluation runs, or JSONL files of grades."),
    ],
    *,
    labels: Annotated[
        str | None,
        Option(metavar="FILE", help="People's verdicts as a file of grades; they correct each judge's score."),
    ] = None,
    data: Annotated[
        str | None, Option(metavar="FILE", help="The benchmark, JSONL; default: that of the first run.")
    ] = None,
    store: StoreFile = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Compare judges that graded the same answers, such as `item` with `example` grading or one judge with another.

    Examples that two judges saw different answers to are left out. With --labels each judge gets its sensitivity and
    specificity, and the score without the mistakes that they stand for. A meta-evaluation has its labels with it.
    """
    from ...core.errors import InputError
    from ...evals.formats import Completion
    from ...evals.judges import compare_judges
    from ...evals.verdicts import judged_file, judged_run
    from ...store.file.database import Store

    files = [name for name in judges if Path(name).is_file()]
    if len(files) == len(judges):
        examples = _examples(data, None, "")
        found = [judged_file(Path(name), examples) for name in judges]
    else:
        with Store.open(store, create=False) as opened:
            runs = [name for name in judges if name not in files]
            examples = _examples(data, opened, runs[0])
            found = [
                judged_file(Path(name), examples) if name in files else judged_run(opened, _evaluation(opened, name))
                for name in judges
            ]
    people = judged_file(Path(labels), examples) if labels else None
    if len(judges) < 2 and not people and not any(isinstance(one, Completion) for one in examples.values()):
        raise InputError("one judge alone agrees with nobody", todo="name two runs or files, or give --labels FILE")
    comparison = compare_judges(examples, found, people)
    if json:
        print_json(comparison.model_dump(mode="json"))
        return
    from ..printing.judges import print_judges

    print_judges(stdout(), comparison)


def _examples(data: str | None, store: "Store | None", run: str) -> "Mapping[str, Example]":
    from ...core.errors import InputError
    from ...core.loading import parse_recipe
    from ...evals.grading import keyed_examples
    from ...evals.healthbench import load_examples
    from ...graph.inputs import key_of
    from ..loading import named_run

    if data:
        return {key_of(example.prompt_id): example for example in load_examples(Path(data))}
    if store is None:
        raise InputError("files of grades do not name their benchmark", todo="give --data FILE")
    before = named_run(store, run)
    return dict(keyed_examples(parse_recipe(before.recipe, before.folder)))


def _evaluation(store: "Store", name: str) -> str:
    from ..loading import named_run

    return named_run(store, name).id
