"""LangSmith tracing: off while endpoints are open unless the recipe turns it on; the environment does not count."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from langchain_core.utils.env import env_var_is_set
from langsmith import Client, tracing_context

from ...core.errors import SettingsError

PATIENCE = 30.0  # seconds allowed for sending the last traces
KEY = "LANGSMITH_API_KEY"
REFUSED = ("LANGCHAIN_TRACING", "LANGCHAIN_HANDLER")
"""Variables of LangChain's removed v1 tracer: LangChain raises on every call if one of them is set."""


@asynccontextmanager
async def langsmith_tracing(on: bool) -> AsyncIterator[None]:
    """Sends traces of the code inside to LangSmith if `on`, else disables tracing. Raises SettingsError.

    Prompts must not leave the machine because LANGSMITH_TRACING was set for another project.
    """
    if on and not os.environ.get(KEY):
        todo = "export it, or leave langsmith out of the recipe"
        raise SettingsError(f"no key in the environment: {KEY}", where="langsmith", todo=todo)
    if not on:
        for name in filter(env_var_is_set, REFUSED):
            raise SettingsError(
                "LangChain no longer supports this variable and refuses to run", where=name, todo="unset it"
            )
        with tracing_context(enabled=False):
            yield
        return
    client = Client()
    try:
        with tracing_context(enabled=True, client=client):
            yield
    finally:
        # Sends the traces still in the queue.
        await asyncio.to_thread(client.close, PATIENCE)
