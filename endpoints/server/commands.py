"""Builds the command lines that start servers, with the settings that muser relies on."""

import contextlib
import importlib.metadata
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from ...core.packaged import GGUF
from ...core.recipe import ServeSettings
from . import llamacpp

HOST = "127.0.0.1"
PYTHON = [sys.executable, "-P"]  # keeps the working folder off the path: a model may have the name of a module
# Without a hub cache its GET /v1/models fails, so this creates the folder first.
TRANSFORMERS = """\
import os
from huggingface_hub.constants import HF_HUB_CACHE
os.makedirs(HF_HUB_CACHE, exist_ok=True)
from transformers.cli.transformers import app
app()
"""
# Telemetry is off unless the user has set these variables. DO_NOT_TRACK would overrule the user's settings.
NO_TELEMETRY = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "RAY_USAGE_STATS_ENABLED": "0"}
AUTH = "muser_auth"  # the module's name in the server, where muser need not be installed
# The CPU build crashes on a seeded request if it processes the prompt in chunks ("CPU Generator does not use offset").
CPU_OPTIONS: dict[str, JsonValue] = {
    "enforce-eager": True,
    "gpu-memory-utilization": 0.3,
    "enable-chunked-prefill": False,
}
CPU_ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1"}  # GiB
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # the values of --max-lora-rank that vLLM accepts
# The first Qwen3 models think by default; the later Instruct models never do.
THINKING_NAME = re.compile(r"(^|/)Qwen3-([\d.]+B(-A[\d.]+B)?(-FP8|-AWQ|-GPTQ-Int\d)?$|.*-Thinking)", re.IGNORECASE)


@dataclass(frozen=True)
class Weights:
    """What one server serves: the model at `path` (a folder or hub name) as `name`, and LoRA adapters on it by name.

    With a `lora_rank`, adapters up to that rank can be loaded later.
    """

    name: str
    path: str
    adapters: Mapping[str, Path] = field(default_factory=dict)
    lora_rank: int | None = None

    @property
    def max_rank(self) -> int | None:
        """The smallest --max-lora-rank that vLLM accepts and every adapter fits; None without adapters."""
        ranks = [json.loads((path / "adapter_config.json").read_text())["r"] for path in self.adapters.values()]
        ranks += [self.lora_rank] if self.lora_rank else []
        return next((allowed for allowed in RANKS if allowed >= max(ranks)), max(ranks)) if ranks else None


def vllm_command(weights: Weights, settings: ServeSettings, port: int, auth: Path | None = None) -> list[str]:
    """The command that starts vLLM. The settings' options override all others but the model, the address and the auth.

    `auth` is the folder of the module that requires the key in VLLM_API_KEY for every page but /health.
    """
    options: dict[str, JsonValue] = dict(CPU_OPTIONS) if is_cpu_build(settings) else {}
    options |= {
        "enable-prefix-caching": True,
        "enable-prompt-tokens-details": True,
        # Without this, a weak model may write newlines inside JSON up to max_tokens.
        "structured-outputs-config": {"backend": "xgrammar", "disable_any_whitespace": True},
        # auto: the model's own limit, or less if the memory for the KV cache is not enough.
        "max-model-len": settings.max_model_len or "auto",
    }
    parser = reasoning_parser(weights.path) if settings.reasoning_parser == "auto" else settings.reasoning_parser
    if parser and parser != "none":
        options["reasoning-parser"] = parser
    if settings.gpu_memory_utilization is not None:
        options["gpu-memory-utilization"] = settings.gpu_memory_utilization
    if weights.max_rank:
        options |= {
            "enable-lora": True,
            "max-lora-rank": weights.max_rank,
            "max-loras": max(len(weights.adapters), 2),
        }
    if weights.adapters:
        options["lora-modules"] = [f"{name}={path.resolve()}" for name, path in weights.adapters.items()]
    options |= {key.replace("_", "-"): value for key, value in settings.options.items()}
    options |= {"model": weights.path, "served-model-name": weights.name, "host": HOST, "port": port}
    given = options.pop("middleware", [])
    # The last one is the outermost, so no request reaches another before the auth.
    middleware = [*(given if isinstance(given, list) else [given]), *([f"{AUTH}.KeyAuth"] if auth else [])]
    command = [word.replace("{auth}", str(auth)) for word in settings.command] or [
        *([settings.python] if settings.python else PYTHON),
        *("-m", "vllm.entrypoints.openai.api_server"),
    ]
    return [*command, *_flags(options), *(f"--middleware={each}" for each in middleware)]


def transformers_command(weights: Weights, port: int, folder: Path) -> list[str]:
    """The command that starts `transformers serve`, without a recipe's options (they are vLLM's) and without adapters.

    `folder` is the server's working folder.
    """
    name, target = weights.name, Path(weights.path)
    # It serves a model under the path it is given, and reads what follows an "@" as a revision. A link sets the name.
    if target.exists():
        (folder / name).symlink_to(target.resolve(), target_is_directory=True)
    options: dict[str, JsonValue] = {"host": HOST, "port": port, "continuous-batching": True}
    if not Path("/dev/nvidiactl").exists():
        # By default it sizes its cache by a share of all memory, and on a CPU the first request then takes 40 s.
        options |= {"cb-num-blocks": 512, "cb-block-size": 32, "cb-max-batch-tokens": 1024}
    return [*PYTHON, "-c", TRANSFORMERS, "serve", name if target.exists() else weights.path, *_flags(options)]


def llamacpp_command(weights: Weights, settings: ServeSettings, port: int) -> list[str]:
    """The command that starts llama.cpp's server on the model's GGUF file, without adapters."""
    options: dict[str, JsonValue] = {
        "model": str(gguf_file(weights.path)),
        "name": weights.name,
        "host": HOST,
        "port": port,
        "context": settings.max_model_len or 0,
        "options": settings.options,
    }
    return [*PYTHON, llamacpp.__file__, *_flags(options)]


def gguf_file(path: str) -> Path | None:
    """The GGUF file that llama.cpp serves for a model's path: the file itself, or its folder's; None without one."""
    file = Path(path) if path.endswith(".gguf") else Path(path) / GGUF
    return file.resolve() if file.is_file() else None


def environment(settings: ServeSettings, weights: Weights, key: str | None, auth: Path | None = None) -> dict[str, str]:
    """A server's environment. The key is here and not in the arguments, which every user of the machine can read."""
    given = CPU_ENVIRONMENT | NO_TELEMETRY | os.environ | settings.env
    if settings.python:
        # Like -P, which Python has only from 3.11 on; older ones ignore this variable.
        given["PYTHONSAFEPATH"] = "1"
    if auth:
        given["PYTHONPATH"] = os.pathsep.join(filter(None, [str(auth), given.get("PYTHONPATH", "")]))
    # vLLM would require a key from the user's shell, which muser does not send.
    given.pop("VLLM_API_KEY", None)
    if key:
        given["VLLM_API_KEY"] = given[llamacpp.KEY] = key
        if weights.lora_rank:
            given["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"
    return given


def reasoning_parser(path: str) -> str | None:
    """The parser for a model that writes reasoning; None if there is none to parse, or if vLLM selects the parser."""
    folder = Path(path)
    if not folder.is_dir():
        return "qwen3" if THINKING_NAME.search(path) else None
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type", "")
        templates = (folder / "chat_template.jinja", folder / "tokenizer_config.json")
        thinks = any("enable_thinking" in file.read_text(encoding="utf-8") for file in templates if file.is_file())
    except (OSError, ValueError):
        return None
    return "qwen3" if str(kind).startswith("qwen3") and thinks else None


def is_cpu_build(settings: ServeSettings) -> bool:
    """Whether the settings select vLLM's CPU build; a custom command is assumed to start another build."""
    if settings.python:
        environment = Path(shutil.which(settings.python) or "/bin/python").absolute().parents[1]
        return any(environment.glob("lib/python*/site-packages/vllm_cpu-*.dist-info"))
    if settings.command:
        return False
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return bool(importlib.metadata.version("vllm-cpu"))
    return False


def _flags(options: Mapping[str, JsonValue]) -> list[str]:
    flags: list[str] = []
    for key, value in options.items():
        if isinstance(value, bool):
            flags.append(f"--{key}" if value else f"--no-{key}")
        elif isinstance(value, list):
            flags += [f"--{key}", *map(str, value)]
        else:
            flags += [f"--{key}", json.dumps(value) if isinstance(value, dict) else str(value)]
    return flags
