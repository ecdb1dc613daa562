"""Checks across the parts of a recipe, made on its plain data so that one invalid key does not hide other problems."""

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

from .documents import PACKAGED, Keys, find_file
from .problems import suggestion
from .recipe import NAME, RESERVED_CRITICS
from .secrets import secret_places
from .types import Stage

Finding = tuple[Keys, str]
"""(location, problem)."""

Need = Literal["inputs", "critics", "training", "evaluation"]
"""What a command requires: `inputs` (samples or queries), at least one critic, or the section of this name."""

ROLES = ("persona", "responder", "critic", "refiner", "judge")
ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def cross_check(data: dict[str, Any], folder: Path, needs: Collection[Need] = ()) -> Iterator[Finding]:
    """Every inconsistency. Parts of the wrong type are skipped; the field rules report them."""
    yield from _names(data)
    yield from _models(data)
    yield from _secrets(data)
    yield from _bindings(data)
    yield from _unbound(data)
    yield from _files(data, folder)
    yield from _missing(data, needs)


def _at(data: Any, *keys: str) -> dict[str, Any]:
    """The mapping under these keys; empty if there is none."""
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, dict) else {}


def _text(data: Any, *keys: str) -> str | None:
    value = _at(data, *keys[:-1]).get(keys[-1])
    return value if isinstance(value, str) else None


def _names(data: dict[str, Any]) -> Iterator[Finding]:
    for part in ("models", "critics"):
        for name in _at(data, part):
            if not re.fullmatch(NAME, name):
                yield (part, name), "a name must start with a letter and contain only letters, digits, - and _"
    for name in RESERVED_CRITICS.intersection(_at(data, "critics")):
        yield ("critics", name), f"a critic cannot be named {name}: the graph already has a node with that name"


def _models(data: dict[str, Any]) -> Iterator[Finding]:
    trained, models = _text(data, "training", "model"), _at(data, "models")
    if trained is not None and trained not in models:
        yield ("training", "model"), f"there is no model {trained}{suggestion(trained, models)}"
    for name, model in models.items():
        if isinstance(model, dict) and not (model.get("base_url") or "serve" in model or name == trained):
            yield ("models", name), "set base_url, or serve to have muser start a server"
        if _text(model, "serve", "weights") == "adapter" and (
            name != trained or _text(data, "training", "method") == "full"
        ):
            what = "adapter requires the trained model (training.model) and method: lora"
            yield ("models", name, "serve", "weights"), what


def _secrets(data: dict[str, Any]) -> Iterator[Finding]:
    """Recipes are stored, shown and shared: what looks like a key is rejected and never repeated in a message."""
    for name, model in _at(data, "models").items():
        given = model if isinstance(model, dict) else {}
        variables: dict[tuple[str, ...], Any] = {("api_key_env",): given.get("api_key_env")}
        variables |= {("headers_env", header): value for header, value in _at(model, "headers_env").items()}
        for part, variable in variables.items():
            if isinstance(variable, str) and _is_key(variable):
                what = "not the name of an environment variable; if this is the key itself, put it into a variable"
                yield ("models", name, *part), what
    for keys in secret_places(data):
        yield keys, "a recipe must not contain secrets; set this one as an environment variable before starting muser"


def _is_key(variable: str) -> bool:
    # Generated keys mix lower case and digits; names of environment variables seldom do at this length.
    mixed = len(variable) >= 24 and re.search("[a-z]", variable) and re.search("[0-9]", variable)
    return bool(mixed or not ENVIRONMENT_NAME.fullmatch(variable))


def _bindings(data: dict[str, Any]) -> Iterator[Finding]:
    roles, models, critics = _at(data, "roles"), _at(data, "models"), _at(data, "critics")
    for name in _at(roles, "critics"):
        if name not in critics:
            yield ("roles", "critics", name), f"there is no critic {name}{suggestion(name, critics)}"
    places: list[tuple[str, ...]] = [(role,) for role in ROLES] + [("critics", name) for name in _at(roles, "critics")]
    for place in places:
        short, full = _text(roles, *place), _text(roles, *place, "model")
        if short is not None or full is not None:
            keys = ("roles", *place) if full is None else ("roles", *place, "model")
            yield from ((keys, what) for what in _bound(data, models, short if full is None else full))


def _bound(data: dict[str, Any], models: dict[str, Any], bound: str | None) -> Iterator[str]:
    model, staged, stage = (bound or "").partition("@")
    if model not in models:
        yield f"there is no model {model}{suggestion(model, models)}"
    if not staged:
        return
    if stage not in get_args(Stage):
        yield f"there is no stage {stage}{suggestion(stage, get_args(Stage))}"
    if model in models and model != _text(data, "training", "model"):
        yield f"only the trained model has stages, and training.model is not {model}"


def _unbound(data: dict[str, Any]) -> Iterator[Finding]:
    roles, models, critics = _at(data, "roles"), _at(data, "models"), _at(data, "critics")
    if len(models) < 2:
        return
    called = ["persona"] if data.get("samples") else []
    called += ["responder", *(["refiner"] if critics else []), *(["judge"] if data.get("evaluation") else [])]
    alone = [name for name in critics if _at(roles, "critics").get(name) is None]
    free: list[tuple[str, ...]] = [("roles", role) for role in called if roles.get(role) is None]
    if alone and roles.get("critic") is None:
        free += [("roles", "critic")] if len(alone) == len(critics) else [("roles", "critics", name) for name in alone]
    for keys in free:
        yield keys, f"is required because the recipe has several models; choose one of {', '.join(models)}"


def _files(data: dict[str, Any], folder: Path) -> Iterator[Finding]:
    plain: list[tuple[str, ...]] = [("queries",), ("personas",), ("evaluation", "file")]
    for keys in plain:
        name = _text(data, *keys)
        if name is not None and not (folder / name).is_file():
            yield keys, f"there is no file {folder / name}"
    prompts: list[tuple[str, ...]] = [("prompts", key) for key in _at(data, "prompts")]
    prompts += [("critics", name, "prompt") for name in _at(data, "critics")]
    for keys in prompts:
        yield from _packaged(keys, _text(data, *keys), folder, "prompt", ".md")
    yield from _packaged(("attributes",), _text(data, "attributes"), folder, "table", ".yaml")


def _packaged(keys: Keys, name: str | None, folder: Path, kind: str, ending: str) -> Iterator[Finding]:
    if name is not None and find_file(name, folder) is None:
        own = sorted(file.name for file in PACKAGED.glob(f"*{ending}"))
        yield keys, f"there is no file {folder / name}, and muser ships no {kind} {name}{suggestion(name, own)}"


def _missing(data: dict[str, Any], needs: Collection[Need]) -> Iterator[Finding]:
    if "inputs" in needs and not data.get("samples") and not data.get("queries"):
        yield ("samples",), "nothing to run: set samples (how many to simulate) or queries (a JSONL file)"
    if "critics" in needs and not data.get("critics"):
        yield ("critics",), "at least one critic is required"
    if "training" in needs and not data.get("training"):
        yield ("training",), "is required, with at least training: {model: NAME}"
    if "evaluation" in needs and not data.get("evaluation"):
        yield ("evaluation",), "is required, with at least evaluation: {file: FILE}"
