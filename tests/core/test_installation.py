"""The hint that says how to add optional libraries fits how muser was installed."""

import json
import re
import shlex
import subprocess
import sys
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Any

import pytest

from muser.core.installation import hint_for, install_hint

ROOT = Path(__file__).parents[2]
WRONG = re.compile(r"pip install '?muser(?!-llm)|\bmuser\[")
WHEEL = {"url": "file:///tmp/muser_llm-1-py3-none-any.whl", "archive_info": {}}
COMMIT = {"url": "https://example.org/muser", "vcs_info": {"vcs": "git", "commit_id": "abc"}}


def installed(folder: Path, installer: str, direct_url: dict[str, Any] | None = None) -> PathDistribution:
    """A distribution's metadata as an installer leaves them."""
    info = folder / "muser_llm-1.dist-info"
    info.mkdir()
    (info / "INSTALLER").write_text(f"{installer}\n")
    if direct_url:
        (info / "direct_url.json").write_text(json.dumps(direct_url))
    return PathDistribution(info)


def test_no_text_tells_anybody_to_install_the_other_muser() -> None:
    """On PyPI, the name without -llm is somebody else's program."""
    listed = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\0")
    said = {}
    for name in filter(None, files):
        if (ROOT / name).is_file() and (ROOT / name).suffix not in {".png", ".svg"}:
            said[name] = WRONG.findall((ROOT / name).read_text(encoding="utf-8"))
    assert len(said) > 100
    assert {name: found for name, found in said.items() if found} == {}


@pytest.mark.parametrize(
    ("installer", "direct_url", "hint"),
    [
        ("pip", None, "{prefix}/bin/python -m pip install 'muser-llm[train]'"),
        ("uv", None, "uv pip install --python {prefix}/bin/python 'muser-llm[train]'"),
        (
            "pip",
            WHEEL,
            "{prefix}/bin/python -m pip install 'muser-llm[train] @ file:///tmp/muser_llm-1-py3-none-any.whl'",
        ),
        ("pip", COMMIT, "{prefix}/bin/python -m pip install 'muser-llm[train] @ git+https://example.org/muser@abc'"),
    ],
)
def test_an_installed_wheel_is_extended_by_its_installer_from_where_it_came(
    installer: str, direct_url: dict[str, Any] | None, hint: str, tmp_path: Path
) -> None:
    said = hint_for("train", installed(tmp_path, installer, direct_url), tmp_path)
    assert said == hint.format(prefix=tmp_path)


@pytest.mark.parametrize(
    ("receipt", "command"), [("pipx_metadata.json", "pipx install --force"), ("uv-receipt.toml", "uv tool install")]
)
def test_a_tools_own_environment_is_installed_again_with_the_extra(receipt: str, command: str, tmp_path: Path) -> None:
    (tmp_path / receipt).touch()
    assert hint_for("data", installed(tmp_path, "uv"), tmp_path) == f"{command} 'muser-llm[data]'"


def test_a_clone_is_extended_by_its_own_script_where_that_made_the_environment(tmp_path: Path) -> None:
    clone = tmp_path / "a clone"
    found = installed(tmp_path, "uv", {"url": clone.as_uri(), "dir_info": {"editable": True}})
    said = hint_for("train", found, clone / ".venv")
    assert said == f"cd {shlex.quote(str(clone))} && requirements/install.sh --editable '.[train]'"
    elsewhere = hint_for("train", found, tmp_path)
    assert elsewhere == f"uv pip install --python {tmp_path}/bin/python --editable '{clone}[train]'"


def test_without_an_installation_the_index_is_named() -> None:
    assert hint_for("data", None, Path("/usr")) == "/usr/bin/python -m pip install 'muser-llm[data]'"


@pytest.mark.slow
def test_the_hint_for_this_environment_is_a_command_that_works() -> None:
    hint = install_hint("data")
    assert f"{sys.prefix}/bin/python" in hint or f"cd {Path(sys.prefix).parent} && " in hint
    done = subprocess.run(f"{hint} --dry-run", shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
