"""How muser was installed, and the command that adds one of its extras to the same environment."""

import json
import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

DISTRIBUTION = "muser-llm"
"""The name on package indexes; the import and the command are `muser`."""


def install_hint(extra: str) -> str:
    """The command that installs an extra into the environment of this process."""
    known = metadata.distributions(name=DISTRIBUTION)
    # A build leaves an egg-info in the clone, which does not say how muser was installed; only installers write
    # INSTALLER (packaging.python.org, "Recording installed projects").
    return hint_for(extra, next((found for found in known if _read(found, "INSTALLER")), None), Path(sys.prefix))


def hint_for(extra: str, found: metadata.Distribution | None, prefix: Path) -> str:
    """The same for a distribution in the environment at `prefix`; None if muser runs without being installed.

    In an environment that a clone's Makefile made, the command is the clone's script: it installs the locked versions.
    """
    # direct_url.json is PEP 610's record of an installation from a folder, a repository or a file.
    origin = json.loads(_read(found, "direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        clone = Path(unquote(urlsplit(origin["url"]).path))
        if prefix.resolve() == (clone / ".venv").resolve():
            return f"cd {shlex.quote(str(clone))} && requirements/install.sh --editable '.[{extra}]'"
        return f"{_installer(found, prefix)} --editable {shlex.quote(f'{clone}[{extra}]')}"
    return f"{_installer(found, prefix)} {shlex.quote(_requirement(extra, origin))}"


def _requirement(extra: str, origin: dict[str, Any]) -> str:
    """The distribution with the extra, from its original source: an index, a repository, or a file."""
    named, url = f"{DISTRIBUTION}[{extra}]", origin.get("url")
    if not url:
        return named
    source = origin.get("vcs_info")
    return f"{named} @ {source['vcs']}+{url}@{source['commit_id']}" if source else f"{named} @ {url}"


def _read(found: metadata.Distribution | None, name: str) -> str:
    return ((found.read_text(name) if found else None) or "").strip()


def _installer(found: metadata.Distribution | None, prefix: Path) -> str:
    """The install command of the tool that installed the distribution, without the requirement."""
    if (prefix / "pipx_metadata.json").is_file():
        return "pipx install --force"
    if (prefix / "uv-receipt.toml").is_file():
        return "uv tool install"
    python = shlex.quote(str(prefix / "bin" / "python"))
    if _read(found, "INSTALLER") == "uv":
        return f"uv pip install --python {python}"
    return f"{python} -m pip install"
