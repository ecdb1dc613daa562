"""The wheel: all that it needs and nothing else, and a muser that works from it in an empty environment."""

import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

# Cold, the first test also waits for downloads.
pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[1]
UV = Path(sysconfig.get_path("scripts")) / "uv"
NOT_PACKED = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "build", "dist")


def succeed(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, since setuptools leaves its intermediate files beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "source", ignore=NOT_PACKED)
    succeed(UV, "build", "--quiet", "--wheel", "--out-dir", folder, folder / "source", cwd=folder)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def scripts(wheel: Path) -> Path:
    """The scripts folder of an environment that holds the wheel and what it asks for."""
    venv = wheel.parent / "venv"
    succeed(UV, "venv", "--quiet", "--python", sys.executable, venv, cwd=wheel.parent)
    lock = ROOT / "requirements" / "lock.txt"
    succeed(UV, "pip", "install", "--quiet", "--python", venv, "--constraint", lock, wheel, cwd=wheel.parent)
    return venv / "bin"


def test_the_lock_has_a_hash_for_every_package() -> None:
    entries = re.split(r"^(?=[a-z0-9])", (ROOT / "requirements" / "lock.txt").read_text(), flags=re.MULTILINE)[1:]
    assert len(entries) > 100
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_wheel_holds_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    source = wheel.parent / "source"
    folders = [source / "recipes", *(path.parent for path in source.glob("*/__init__.py"))]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    expected = {f"muser/{path.relative_to(source)}" for path in files} | {
        "muser/__init__.py",
        "muser/__main__.py",
        "muser/py.typed",
    }
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == expected


def test_the_light_core_needs_neither_torch_nor_matplotlib(scripts: Path) -> None:
    code = "from importlib.util import find_spec; print(*filter(find_spec, ['matplotlib', 'torch', 'vllm']))"
    assert succeed(scripts / "python", "-c", code, cwd=scripts).split() == []


@pytest.mark.slow
def test_what_is_missing_is_said_with_a_command_that_adds_it(scripts: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "demo.yaml"
    succeed(scripts / "python", "-m", "muser", "init", ".", cwd=tmp_path)
    recipe.write_text((ROOT / "recipes" / "demo.yaml").read_text())
    done = subprocess.run(
        [scripts / "muser", "pipeline", recipe], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("Traceback")) == (1, 0)
    assert "charts need matplotlib" in done.stderr
    hint = re.search("try: +(.*)", done.stderr)
    assert hint
    assert hint[1].startswith(f"uv pip install --python {scripts}/python 'muser-llm[data] @ file://")
    succeed(UV, *shlex.split(hint[1])[1:], "--dry-run", cwd=tmp_path)


def test_help_lists_the_commands(scripts: Path) -> None:
    assert " run " in succeed(scripts / "muser", "--help", cwd=scripts)


def test_a_recipe_is_written_checked_and_run(scripts: Path, simulate: Callable[..., str], tmp_path: Path) -> None:
    succeed(scripts / "muser", "init", ".", "--endpoint", simulate(), cwd=tmp_path)
    succeed(scripts / "muser", "check", "recipe.yaml", cwd=tmp_path)
    succeed(scripts / "muser", "run", "recipe.yaml", "--set", "samples=2", "--set", "queries=null", cwd=tmp_path)
    assert (tmp_path / "muser.db").is_file()
