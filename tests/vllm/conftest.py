"""Real vLLM servers on the CPU, started by `muser serve`, of a tiny Qwen3-shaped model with random weights."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from muser.trainer.tiny import build_tiny_model

from ..endpoints.server.test_launch import descendants
from ..endpoints.server.test_watchdog import is_gone, wait_for

ROOT = Path(__file__).parents[2]
OFFLINE = {"HF_HUB_OFFLINE": "1"}
RECIPE: dict[str, Any] = {
    "name": "open",
    "samples": 1,
    # As from another environment, which this one is as good as.
    "models": {
        "tiny": {"serve": {"python": sys.executable, "max_model_len": 8192, "env": OFFLINE, "start_timeout": 300}}
    },
}


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny untrained model."""
    # Its vocabulary is learned from what it will read, so that whole prompts fit.
    texts = [path.read_text() for path in [*ROOT.glob("prompts/*.md"), ROOT / "recipes" / "questions.jsonl"]]
    return build_tiny_model(tmp_path_factory.mktemp("models") / "tiny", texts=texts, positions=8192)


@pytest.fixture(scope="session")
def vllm(tiny_model: Path) -> Iterator[str]:
    """The base_url of a vLLM that serves the tiny model under the name `tiny-base`; it asks for no key."""
    folder = tiny_model.parent
    model = RECIPE["models"]["tiny"] | {"model": str(tiny_model)}
    (folder / "open.yaml").write_text(json.dumps(RECIPE | {"models": {"tiny": model}}))
    with muser_serve(folder, "open.yaml", "tiny") as (muser, told):
        servers = descendants(muser.pid)
        yield told["base_url"]
        muser.terminate()
        muser.communicate(timeout=60)
        assert muser.returncode == 0
        assert all(map(is_gone, servers))


@contextmanager
def muser_serve(folder: Path, *words: str) -> Iterator[tuple["subprocess.Popen[str]", dict[str, Any]]]:
    """`muser serve --json WORDS` in a folder once it is up: the process, and what it said."""
    command = [sys.executable, "-m", "muser", "serve", *words, "--json"]
    with (folder / "serve.err").open("w") as errors:
        muser = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert muser.stdout
        said = ""
        for line in muser.stdout:
            said += line
            if line == "}\n":
                break
        assert said, f"it did not come up:\n{(folder / 'serve.err').read_text()}"
        yield muser, json.loads(said)
    finally:
        left = descendants(muser.pid)
        muser.kill()
        muser.communicate()
        # A test that failed must not leave the next one without memory.
        wait_for(lambda: all(map(is_gone, left)), seconds=30)
