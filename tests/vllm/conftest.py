"""One real vLLM on the CPU for the whole session, serving a tiny Qwen3-shaped model with random weights."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from muser.trainer.tiny import build_tiny_model

START_SECONDS = 300
ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
OPTIONS = [
    "--max-model-len=8192",
    "--enforce-eager",
    "--gpu-memory-utilization=0.3",
    "--reasoning-parser=qwen3",
    "--enable-prompt-tokens-details",
    # The CPU build dies of a seeded request whose prompt it takes in chunks.
    "--no-enable-chunked-prefill",
    '--structured-outputs-config={"backend":"xgrammar","disable_any_whitespace":true}',
]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny untrained model."""
    # Its vocabulary is learned from what it will read, so that whole prompts fit.
    texts = [path.read_text() for path in [*ROOT.glob("prompts/*.md"), ROOT / "recipes" / "questions.jsonl"]]
    return build_tiny_model(tmp_path_factory.mktemp("models") / "tiny", texts=texts, positions=8192)


@pytest.fixture(scope="session")
def vllm(tiny_model: Path) -> Iterator[str]:
    """The base_url of a vLLM that serves the tiny model under the name `tiny`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tiny_model.parent / "vllm.log"
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", f"--model={tiny_model}"]
    command += ["--served-model-name=tiny", "--host=127.0.0.1", f"--port={port}", *OPTIONS]
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | ENVIRONMENT)
        try:
            _wait_until_up(server, f"http://127.0.0.1:{port}/health", log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            server.wait(timeout=60)


def _wait_until_up(server: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    pytest.fail(f"vLLM did not come up:\n{log.read_text(errors='replace')[-4000:]}")
