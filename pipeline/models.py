"""Resolves the model name that a role is bound to: an endpoint, a path to serve or a trained stage."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ..core.errors import MissingModel, SettingsError
from ..core.hashing import digest
from ..core.packaged import base_path
from ..core.recipe import ModelSettings, Recipe, RoleSettings, ServeSettings
from ..core.types import Stage
from ..store.file.database import Store
from ..store.records.artifacts import Artifact, latest_artifact, parents_of

STAGES: tuple[Stage, ...] = ("base", "distill", "refine")
EDGE = 2**20  # bytes hashed at a file's start and end; hashing all weights would take minutes


@dataclass(frozen=True)
class Place:
    """Where to find a model: an endpoint, or a `path` to serve. `revision` distinguishes models with the same name.

    If the recipe serves adapters and training saved one, the LoRA `adapter` on its `base` replaces `path`.
    """

    bound: str
    settings: ModelSettings
    path: str | None = None
    revision: str = ""
    base: str = ""
    adapter: Path | None = None

    @property
    def served_as(self) -> str:
        """The model's name on a server that muser starts."""
        return f"{self.bound.partition('@')[0]}-{RoleSettings(model=self.bound).stage}"


def trained_model(recipe: Recipe, store: Store, stage: Stage) -> Artifact | None:
    """The newest model trained for this stage, if its folder still exists."""
    name = recipe.training.model if recipe.training else ""
    found = latest_artifact(store, "model", name, stage)
    # A user may delete old weights to free their space: the stage then counts as not trained, and is trained again.
    return found if found and Path(found.path).is_dir() else None


def locate(recipe: Recipe, store: Store, bound: str) -> Place:
    """Find the model with this bound name. Raises MissingModel if its stage is not trained yet, SettingsError."""
    role = RoleSettings(model=bound)
    settings = recipe.models[role.name]
    if role.stage != "base":
        model = trained_model(recipe, store, role.stage)  # type: ignore[arg-type]
        if model is None:
            raise MissingModel(
                f"{bound} is not trained yet",
                where=str(store.path),
                todo=f"muser train RECIPE --stage {role.stage}, or muser pipeline RECIPE to run all steps in order",
            )
        place = Place(bound, settings, model.path, model.digest)
        wants = settings.serve is not None and settings.serve.weights == "adapter"
        return _on_its_base(place, store, model) if wants else place
    if settings.base_url:
        return Place(bound, settings)
    is_student = recipe.training is not None and recipe.training.model == role.name
    if settings.serve is None and not is_student:
        raise SettingsError(
            f"model {role.name} has no address", where=f"models.{role.name}", todo="set base_url or serve"
        )
    path = base_path(recipe, role.name)
    return Place(bound, settings, path, folder_revision(path, settings.serve))


def _on_its_base(place: Place, store: Store, model: Artifact) -> Place:
    """The place with the stage's adapter, if the adapter and its base still exist; else unchanged."""
    found = [Path(parent.path) for parent in parents_of(store, model.id or 0) if parent.kind == "adapter"]
    base = str(model.meta.get("base", ""))
    if not found or not found[0].is_dir() or (Path(base).is_absolute() and not Path(base).is_dir()):
        return place
    return replace(place, base=base, adapter=found[0].resolve())


def folder_revision(path: str, serve: ServeSettings | None = None) -> str:
    """A digest that changes with a folder's weights; for a hub name, the name and the revision that vLLM loads.

    Reads only the start and end of large files.
    """
    folder = Path(path)
    if not folder.is_dir():
        revision = serve.options.get("revision") if serve else None
        return f"{path}@{revision}" if revision else path
    # A model card (README.md) may be edited without changing what the model answers.
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and file.suffix != ".md"]
    return digest([[file.name, file.stat().st_size, _edges(file)] for file in files])


def context_of(place: Place) -> int | None:
    """Maximum tokens of prompt plus reply by the folder's config.json; None if it does not say."""
    if place.path is None:
        return None
    try:
        config = json.loads((Path(place.path) / "config.json").read_text(encoding="utf-8"))
        # Models that also read images have the language model's settings in a section of their own.
        length = config.get("text_config", config).get("max_position_embeddings")
    except (OSError, ValueError, AttributeError):
        return None
    return length if isinstance(length, int) else None


def _edges(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(EDGE)
        file.seek(max(EDGE, path.stat().st_size - EDGE))
        return digest((head + file.read()).hex())


def places_of(recipe: Recipe, store: Store, roles: Iterable[str]) -> list[Place]:
    """The places of these roles' models, without duplicates. Raises what `locate` raises."""
    return [locate(recipe, store, bound) for bound in dict.fromkeys(recipe.role(role).model for role in roles)]


def revisions_of(recipe: Recipe, store: Store, roles: Iterable[str]) -> dict[str, str]:
    """Bound name → revision, as `run_recipe` takes them. Serves nothing."""
    return {place.bound: place.revision for place in places_of(recipe, store, roles) if place.revision}
