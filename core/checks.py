"""What must agree between a recipe's parts, checked on its plain data so that one broken key hides no other problem."""

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
"""(where, what is wrong)."""

Need = Literal["inputs", "critics", "training", "evaluation"]
"""What a command cannot do without: samples or queries, a critic, the section of this name."""

ROLES = ("persona", "responder", "critic", "refiner", "judge")
ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def cross_check(data: dict[str, Any], folder: Path, needs: Collection[Need] = ()) -> Iterator[Finding]:
    """Every disagreement. Parts of the wrong shape are passed over: the field rules report them."""
    yield from _names(data)
    yield from _models(data)
    yield from _secrets(data)
    yield from _bindings(data)
    yield from _unbound(data)
    yield from _files(data, folder)
    yield from _missing(data, needs)


def _at(data: Any, *keys: str) -> dict[str, Any]:
    """The mapping at a place, empty where there is none."""
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
                yield (part, name), "a name starts with a letter and holds only letters, digits, - and _"
    for name in RESERVED_CRITICS.intersection(_at(data, "critics")):
        yield ("critics", name), f"a critic cannot be called {name}: the graph has a node of that name"


def _models(data: dict[str, Any]) -> Iterator[Finding]:
    trained, models = _text(data, "training", "model"), _at(data, "models")
    if trained is not None and trained not in models:
        yield ("training", "model"), f"there is no model {trained}{suggestion(trained, models)}"
    for name, model in models.items():
        if isinstance(model, dict) and not (model.get("base_url") or "serve" in model or name == trained):
            yield ("models", name), "give base_url, or serve to have muser start it"
        if _text(model, "serve", "weights") == "adapter" and (
            name != trained or _text(data, "training", "method") == "full"
        ):
            what = "only a model that is trained with method: lora has adapters"
            yield ("models", name, "serve", "weights"), what


def _secrets(data: dict[str, Any]) -> Iterator[Finding]:
    """Recipes are stored, shown and shared. What looks like a key is refused, and never repeated in a message."""
    for name, model in _at(data, "models").items():
        given = model if isinstance(model, dict) else {}
        variables: dict[tuple[str, ...], Any] = {("api_key_env",): given.get("api_key_env")}
        variables |= {("headers_env", header): value for header, value in _at(model, "headers_env").items()}
        for part, variable in variables.items():
            if isinstance(variable, str) and _is_key(variable):
                what = "this is not the name of an environment variable; if it is the key itself, put it into one"
                yield ("models", name, *part), what
    for keys in secret_places(data):
        yield keys, "a secret cannot stand in a recipe; set it in the environment that muser is started from"


def _is_key(variable: str) -> bool:
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
        yield f"only the model that is trained has stages, and training.model is not {model}"


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
        yield keys, f"is not given, and there are several models to choose from: {', '.join(models)}"


def _files(data: dict[str, Any], folder: Path) -> Iterator[Finding]:
    plain: list[tuple[str, ...]] = [("queries",), ("evaluation", "file")]
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
        yield keys, f"there is no file {folder / name}, and no {kind} {name} in muser{suggestion(name, own)}"


def _missing(data: dict[str, Any], needs: Collection[Need]) -> Iterator[Finding]:
    if "inputs" in needs and not data.get("samples") and not data.get("queries"):
        yield ("samples",), "nothing to run: give samples (how many to simulate) or queries (a JSONL file)"
    if "critics" in needs and not data.get("critics"):
        yield ("critics",), "at least one critic is needed"
    if "training" in needs and not data.get("training"):
        yield ("training",), "is needed: at least training: {model: NAME}"
    if "evaluation" in needs and not data.get("evaluation"):
        yield ("evaluation",), "is needed: at least evaluation: {file: FILE}"
