"""Servers that answer as a test wants, for what no well-behaved endpoint does; over TLS too."""

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from muser.core.recipe import ModelSettings, RoleSettings
from muser.core.types import Message, Reply, Request
from muser.endpoints.client.chat import open_endpoints

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[str]]
Raw = bytes | AsyncIterable[bytes]
ServeRaw = Callable[..., Awaitable[str]]
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves every path by one handler; handler → base_url."""
    async with AsyncExitStack() as running:

        async def start(handler: Handler) -> str:
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", handler)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            running.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            return f"http://127.0.0.1:{runner.addresses[0][1]}/v1"

        yield start


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of 127.0.0.1, with its key in the same file."""
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    made = [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(file), "-out", f"{file}.crt"]
    subprocess.run(made, check=True, capture_output=True)
    file.write_text(file.read_text() + Path(f"{file}.crt").read_text())
    return file


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """What a server speaks TLS with that muser trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture(params=["http", "https"])
async def serve_raw(request: pytest.FixtureRequest) -> AsyncIterator[ServeRaw]:
    """Answers every POST with the bytes that it is given, then hangs up; knows no list of models. Bytes → base_url."""
    context = request.getfixturevalue("trusted") if request.param == "https" else None
    async with AsyncExitStack() as running:

        async def start(answer: Raw) -> str:
            async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                    is_post = (await reader.readuntil(b"\r\n\r\n")).startswith(b"POST")
                    if isinstance(answer, bytes) or not is_post:
                        writer.write(answer if is_post and isinstance(answer, bytes) else NOT_FOUND)
                    else:
                        async for part in answer:
                            if writer.is_closing():
                                break
                            writer.write(part)
                            await writer.drain()
                    await writer.drain()
                with contextlib.suppress(ConnectionError, ssl.SSLError):
                    writer.close()
                    await writer.wait_closed()

            server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)
            running.push_async_callback(server.wait_closed)
            running.callback(server.close)
            return f"{request.param}://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"

        yield start


def completion(**message: Any) -> dict[str, Any]:
    """A chat completion of one message."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": None, **message}}
    return {"id": "c", "object": "chat.completion", "created": 0, "model": "odd", "choices": [choice]}


def settings(base_url: str, **changes: Any) -> ModelSettings:
    """A simulated model, with fields replaced."""
    return ModelSettings(**{"model": "simulated", "base_url": base_url, "retries": 0, "timeout": 20, **changes})


async def ask(model: ModelSettings, text: str = "I have chest pain.", *, schema: Any = None, seed: int = 1) -> Reply:
    """One question to one model."""
    request = Request(messages=(Message(role="user", content=text),), output_schema=schema)
    async with open_endpoints({"m": model}) as endpoints:
        return await endpoints["m"].complete(request, RoleSettings(model="m"), seed)
