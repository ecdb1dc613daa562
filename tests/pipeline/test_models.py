"""Where the names that roles are bound to lead, and what tells models of one name apart."""

from pathlib import Path

import pytest

from muser.core.errors import MissingModel, SettingsError
from muser.pipeline.models import EDGE, Place, context_of, folder_revision, locate, places_of
from muser.store.file.database import Store
from muser.store.records.artifacts import Artifact, record_artifact

from .conftest import MakeRecipe

URL = "http://127.0.0.1:1/v1"


def folder(path: Path, weights: bytes = b"weights") -> Path:
    path.mkdir()
    (path / "model.safetensors").write_bytes(weights)
    return path


def trained(store: Store, path: Path, digest: str) -> None:
    record_artifact(store, Artifact(kind="model", name="student", stage="distill", path=str(path), digest=digest))


def test_an_address_is_left_alone(make_recipe: MakeRecipe, store: Store) -> None:
    place = locate(make_recipe(URL), store, "sim")
    assert (place.settings.base_url, place.path, place.revision) == (URL, None, "")


def test_the_student_without_an_address_is_served_from_its_folder(
    make_recipe: MakeRecipe, store: Store, tmp_path: Path
) -> None:
    own = folder(tmp_path / "student")
    for bound in ("student", "student@base"):
        place = locate(make_recipe(URL), store, bound)
        assert (place.path, place.revision) == (str(own), folder_revision(str(own)))


def test_a_stage_leads_to_its_newest_training(make_recipe: MakeRecipe, store: Store, tmp_path: Path) -> None:
    trained(store, folder(tmp_path / "one"), "1")
    trained(store, folder(tmp_path / "two"), "2")
    place = locate(make_recipe(URL), store, "student@distill")
    assert (place.path, place.revision) == (str(tmp_path / "two"), "2")


def test_a_stage_that_is_not_trained_is_missing_and_so_is_one_whose_folder_is_gone(
    make_recipe: MakeRecipe, store: Store, tmp_path: Path
) -> None:
    with pytest.raises(MissingModel, match="student@distill is not trained yet"):
        locate(make_recipe(URL), store, "student@distill")
    trained(store, tmp_path / "gone", "1")
    with pytest.raises(MissingModel):
        locate(make_recipe(URL), store, "student@distill")


def test_another_model_without_an_address_is_an_error(make_recipe: MakeRecipe, store: Store) -> None:
    models = {"sim": {"base_url": URL, "model": "simulated"}, "student": {"model": "s"}, "other": {"model": "o"}}
    with pytest.raises(SettingsError, match="model other has no address"):
        locate(make_recipe(URL, models=models), store, "other")


def test_a_served_hub_model_has_its_name_and_the_revision_that_is_loaded(make_recipe: MakeRecipe, store: Store) -> None:
    for options, revision in (({}, "org/model"), ({"revision": "main"}, "org/model@main")):
        models = {"sim": {"model": "org/model", "serve": {"options": options}}, "student": {"model": "s"}}
        assert locate(make_recipe(URL, models=models), store, "sim").revision == revision


def test_a_model_is_looked_up_once_however_many_roles_it_plays(make_recipe: MakeRecipe, store: Store) -> None:
    recipe = make_recipe(URL)
    roles = recipe.call_roles()
    assert [place.bound for place in places_of(recipe, store, roles)] == ["sim"]


def test_a_revision_changes_with_the_weights_and_not_with_the_card(tmp_path: Path) -> None:
    own = folder(tmp_path / "own", b"a" * (3 * EDGE))
    before = folder_revision(str(own))
    (own / "README.md").write_text("a card")
    assert folder_revision(str(own)) == before
    (own / "model.safetensors").write_bytes(b"a" * (3 * EDGE - 1) + b"b")
    assert folder_revision(str(own)) != before
    assert folder_revision("org/name-on-a-hub") == "org/name-on-a-hub"


def test_the_context_is_that_of_the_folders_configuration(
    make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place("sim", make_recipe(URL).models["sim"], str(tmp_path))
    assert context_of(place) is None
    for config, length in (
        ('{"max_position_embeddings": 2048}', 2048),
        ('{"text_config": {"max_position_embeddings": 4096}}', 4096),
        ('{"max_position_embeddings": "many"}', None),
        ("[]", None),
        ("{", None),
    ):
        (tmp_path / "config.json").write_text(config)
        assert context_of(place) == length
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 2048}')
    monkeypatch.chdir(tmp_path)
    assert context_of(Place("sim", place.settings)) is None, "a model with an address has no folder"
