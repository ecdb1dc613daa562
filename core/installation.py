"""How this muser was installed, and the command that adds one of its optional sets of libraries to it."""

import json
import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

DISTRIBUTION = "muser-llm"
"""What package indexes call muser; its package and its command are called muser."""


def install_hint(extra: str) -> str:
    """The command that adds an extra to the environment that this process runs in."""
    known = metadata.distributions(name=DISTRIBUTION)
    # A build leaves an egg-info in the clone, which says nothing of where and how muser is installed.
    return hint_for(extra, next((found for found in known if _read(found, "INSTALLER")), None), Path(sys.prefix))


def hint_for(extra: str, found: metadata.Distribution | None, prefix: Path) -> str:
    """The same for a distribution found in the environment at `prefix`; None where muser runs without being installed.

    A clone whose Makefile made the environment has its own script, which installs the locked versions.
    """
    origin = json.loads(_read(found, "direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        clone = Path(unquote(urlsplit(origin["url"]).path))
        if prefix.resolve() == (clone / ".venv").resolve():
            return f"cd {shlex.quote(str(clone))} && requirements/install.sh --editable '.[{extra}]'"
        return f"{_installer(found, prefix)} --editable {shlex.quote(f'{clone}[{extra}]')}"
    return f"{_installer(found, prefix)} {shlex.quote(_requirement(extra, origin))}"


def _requirement(extra: str, origin: dict[str, Any]) -> str:
    """The distribution with the extra, from where it came: an index, a repository, or a file."""
    named, url = f"{DISTRIBUTION}[{extra}]", origin.get("url")
    if not url:
        return named
    source = origin.get("vcs_info")
    return f"{named} @ {source['vcs']}+{url}@{source['commit_id']}" if source else f"{named} @ {url}"


def _read(found: metadata.Distribution | None, name: str) -> str:
    return ((found.read_text(name) if found else None) or "").strip()


def _installer(found: metadata.Distribution | None, prefix: Path) -> str:
    """The command of whatever installed the distribution, up to what is to be installed."""
    if (prefix / "pipx_metadata.json").is_file():
        return "pipx install --force"
    if (prefix / "uv-receipt.toml").is_file():
        return "uv tool install"
    python = shlex.quote(str(prefix / "bin" / "python"))
    if _read(found, "INSTALLER") == "uv":
        return f"uv pip install --python {python}"
    return f"{python} -m pip install"
