"""Loads a recipe from a YAML file and `--set` flags, and writes it back. Reports all problems at once, with lines."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from .checks import Need, cross_check
from .documents import Document, Keys, dotted, dump_yaml, parse_document, read_document
from .errors import SettingsError
from .fields import field_findings, read_fields, shown
from .problems import Problem, nearest, raise_problems, suggestion
from .recipe import Recipe, Settings
from .secrets import secret_places


def load_recipe(path: str | Path, overrides: Sequence[str] = (), *, needs: Collection[Need] = ()) -> Recipe:
    """The recipe in a file, with `overrides` such as `models.teacher.max_tokens=4096` applied.

    Raises SettingsError with all problems.
    """
    path = Path(path)
    if not path.exists():
        close = nearest(path.name, (file.name for file in path.parent.glob("*.y*ml")))
        near = f"; did you mean {path.parent / close}?" if close else ""
        raise SettingsError(f"{path}: there is no such recipe{near}")
    return _build(read_document(path, "recipe"), path.parent, path.stem, overrides, needs)


def parse_recipe(
    text: str,
    folder: str | Path,
    overrides: Sequence[str] = (),
    *,
    source: str = "recipe",
    needs: Collection[Need] = (),
) -> Recipe:
    """The recipe in a text, such as a run's stored recipe; its input paths are relative to `folder`."""
    return _build(parse_document(text, source), Path(folder), None, overrides, needs)


def recipe_yaml(recipe: Recipe) -> str:
    """The resolved recipe as YAML; loaded from the same folder, it gives an equal recipe.

    Raises SettingsError if a recipe made in Python contains what looks like a key, because this text is stored.
    """
    data = _plain(recipe)
    if places := ", ".join(dotted(keys) for keys in secret_places(data)):
        raise SettingsError(
            f"a recipe must not contain secrets: {places}",
            todo="set them as environment variables before starting muser",
        )
    return dump_yaml(data)


def _plain(value: Any) -> Any:
    """Settings as plain data, without unset optional keys and without the folder."""
    if isinstance(value, Settings):
        fields = type(value).model_fields.items()
        given = {name: getattr(value, name) for name, field in fields if not field.exclude}
        return {name: _plain(item) for name, item in given.items() if item is not None}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _build(
    document: Document, folder: Path, name: str | None, overrides: Sequence[str], needs: Collection[Need]
) -> Recipe:
    data = document.data
    if not isinstance(data, dict):
        raise SettingsError(f"{document.source}:{document.line(())}: must be a mapping, not {shown(data)}")
    changes = _Changes(document)
    problems = [*document.problems, *changes.apply(data, overrides)]
    _complete_roles(data)
    spoilt = {problem.key for problem in problems}
    findings = [*field_findings(data, folder, name), *cross_check(data, folder, needs)]
    problems += [changes.place(keys, what) for keys, what in findings if dotted(keys) not in spoilt]
    raise_problems(problems, document.source)
    return read_fields(data, folder, name)


class _Changes:
    """The `--set` flags: applies them to a file's data, and remembers which keys they changed."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._made: list[Keys] = []

    def apply(self, data: dict[str, Any], overrides: Sequence[str]) -> Iterator[Problem]:
        """Applies every valid change, and yields the problems of the others."""
        for text in overrides:
            key, given, value_text = text.partition("=")
            keys, flag = tuple(part.strip() for part in key.split(".")), f"--set {key.strip()}"
            if not given or not all(keys):
                yield Problem(flag, 0, "", "must be KEY=VALUE, for example models.teacher.max_tokens=4096")
                continue
            try:
                value = parse_document(value_text, "")
            except SettingsError:
                yield Problem(flag, 0, "", "the value is not valid YAML; quote it")
                continue
            self._made.append(keys)
            wrong = [problem.what for problem in value.problems] or _change(data, keys, value.data)
            yield from (Problem(flag, 0, "", what) for what in wrong)

    def place(self, keys: Keys, what: str) -> Problem:
        """A finding with its source: the flag that caused it, else the line of the file."""
        for made in reversed(self._made):
            above = made[: len(keys)] == keys and keys not in self._document.lines
            if above or keys[: len(made)] == made:
                return Problem(f"--set {dotted(made)}", 0, "" if keys == made else dotted(keys), what)
        return Problem(self._document.source, self._document.line(keys), dotted(keys), what)


def _complete_roles(data: dict[str, Any]) -> None:
    """Fills in the model of roles that set only other keys: a critic gets that of `critic`, others the sole model."""
    roles, models = data.get("roles"), data.get("models")
    if not isinstance(roles, dict):
        return
    sole = {"model": next(iter(models))} if isinstance(models, dict) and len(models) == 1 else {}
    shared = roles.get("critic")
    shared = {"model": shared} if isinstance(shared, str) else shared
    critics = roles.get("critics")
    for places, given in ((roles, sole), (critics, sole | shared if isinstance(shared, dict) else sole)):
        if not isinstance(places, dict):
            continue
        for name, role in places.items():
            if isinstance(role, dict) and role is not critics and "model" not in role:
                places[name] = given | role


def _change(data: dict[str, Any], keys: tuple[str, ...], value: Any) -> list[str]:
    """Sets one value and creates missing parent mappings. Returns the problems."""
    if value is None and len(keys) == 2 and keys[0] == "critics":
        return _leave_out(data, keys[1])
    for depth, key in enumerate(keys[:-1]):
        inner = data.get(key)
        if isinstance(inner, str) and keys[0] == "roles" and depth:
            inner = data[key] = {"model": inner}
        if inner is None:
            if keys[:depth] in (("models",), ("critics",)):
                return [f"there is no {keys[0][:-1]} {key}{suggestion(key, data)}"]
            inner = data[key] = {}
        if not isinstance(inner, dict):
            return [f"{dotted(keys[: depth + 1])} is {shown(inner)} and has no keys"]
        data = inner
    data[keys[-1]] = value
    return []


def _leave_out(data: dict[str, Any], critic: str) -> list[str]:
    """Removes a critic together with its role. Returns the problems."""
    critics, roles = data.get("critics"), data.get("roles")
    if not isinstance(critics, dict) or critic not in critics:
        return [f"there is no critic {critic}{suggestion(critic, critics if isinstance(critics, dict) else ())}"]
    del critics[critic]
    bound = roles.get("critics") if isinstance(roles, dict) else None
    if isinstance(bound, dict):
        bound.pop(critic, None)
    return []
