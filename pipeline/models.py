"""Models by stage: where the name that a role is bound to leads."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ..core.errors import MissingModel, SettingsError
from ..core.hashing import digest
from ..core.recipe import ModelSettings, Recipe, RoleSettings, ServeSettings
from ..core.types import Stage
from ..store.file.database import Store
from ..store.records.artifacts import Artifact, latest_artifact, parents_of

STAGES: tuple[Stage, ...] = ("base", "distill", "refine")
EDGE = 2**20  # bytes of a large file's beginning and end that tell it from others


@dataclass(frozen=True)
class Place:
    """Where a bound name leads: an endpoint, or a `path` to serve. `revision` tells models of one name apart.

    Where the recipe wants it and training left one, a LoRA `adapter` on a `base` says the same as `path`.
    """

    bound: str
    settings: ModelSettings
    path: str | None = None
    revision: str = ""
    base: str = ""
    adapter: Path | None = None

    @property
    def served_as(self) -> str:
        """The name that a server of muser's gives it."""
        return f"{self.bound.partition('@')[0]}-{RoleSettings(model=self.bound).stage}"


def trained_model(recipe: Recipe, store: Store, stage: Stage) -> Artifact | None:
    """The newest model that training made for this stage, if its folder is still there."""
    name = recipe.training.model if recipe.training else ""
    found = latest_artifact(store, "model", name, stage)
    return found if found and Path(found.path).is_dir() else None


def locate(recipe: Recipe, store: Store, bound: str) -> Place:
    """Where a role's model is to be found. Raises MissingModel for a stage that is not trained, SettingsError."""
    role = RoleSettings(model=bound)
    settings = recipe.models[role.name]
    if role.stage != "base":
        model = trained_model(recipe, store, role.stage)  # type: ignore[arg-type]
        if model is None:
            raise MissingModel(
                f"{bound} is not trained yet",
                where=str(store.path),
                todo=f"muser train RECIPE --stage {role.stage}, or muser pipeline RECIPE, which does all in order",
            )
        place = Place(bound, settings, model.path, model.digest)
        wants = settings.serve is not None and settings.serve.weights == "adapter"
        return _on_its_base(place, store, model) if wants else place
    if settings.base_url:
        return Place(bound, settings)
    is_student = recipe.training is not None and recipe.training.model == role.name
    if settings.serve is None and not is_student:
        raise SettingsError(
            f"model {role.name} has no address", where=f"models.{role.name}", todo="give it base_url or serve"
        )
    path = base_path(recipe, role.name)
    return Place(bound, settings, path, folder_revision(path, settings.serve))


def _on_its_base(place: Place, store: Store, model: Artifact) -> Place:
    """The place with the trained stage's adapter, if that and what it was trained on are there still."""
    found = [Path(parent.path) for parent in parents_of(store, model.id or 0) if parent.kind == "adapter"]
    base = str(model.meta.get("base", ""))
    if not found or not found[0].is_dir() or (Path(base).is_absolute() and not Path(base).is_dir()):
        return place
    return replace(place, base=base, adapter=found[0].resolve())


def base_path(recipe: Recipe, name: str) -> str:
    """A model's folder beside the recipe where there is one, else what the recipe says: a path or a hub name."""
    beside = recipe.folder / recipe.models[name].model
    return str(beside) if beside.is_dir() else recipe.models[name].model


def folder_revision(path: str, serve: ServeSettings | None = None) -> str:
    """What changes when a model folder's weights change; of a hub name, the name and the revision that vLLM loads.

    Reads little of large files.
    """
    folder = Path(path)
    if not folder.is_dir():
        revision = serve.options.get("revision") if serve else None
        return f"{path}@{revision}" if revision else path
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and file.suffix != ".md"]
    return digest([[file.name, file.stat().st_size, _edges(file)] for file in files])


def _edges(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(EDGE)
        file.seek(max(EDGE, path.stat().st_size - EDGE))
        return digest((head + file.read()).hex())


def places_of(recipe: Recipe, store: Store, roles: Iterable[str]) -> list[Place]:
    """Where the models of these roles are, each once. Raises what `locate` raises."""
    return [locate(recipe, store, bound) for bound in dict.fromkeys(recipe.role(role).model for role in roles)]


def revisions_of(recipe: Recipe, store: Store, roles: Iterable[str]) -> dict[str, str]:
    """Bound name → revision, as `run_recipe` takes them, without serving anything."""
    return {place.bound: place.revision for place in places_of(recipe, store, roles) if place.revision}
