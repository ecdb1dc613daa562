"""A server that answers as a test wants, for what no well-behaved endpoint does."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import web

from muser.core.recipe import ModelSettings, RoleSettings
from muser.core.types import Message, Reply, Request
from muser.endpoints.chat import open_endpoints

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[str]]


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
