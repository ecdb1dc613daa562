"""LangSmith's tracing: off while endpoints are open, unless the recipe turns it on, whatever the environment says."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from langchain_core.utils.env import env_var_is_set
from langsmith import Client, tracing_context

from ...core.errors import SettingsError

PATIENCE = 30.0  # seconds in which the last traces may be sent
KEY = "LANGSMITH_API_KEY"
REFUSED = ("LANGCHAIN_TRACING", "LANGCHAIN_HANDLER")
"""Of a tracer that LangChain has no longer: it refuses every call where one of them is set."""


@asynccontextmanager
async def langsmith_tracing(on: bool) -> AsyncIterator[None]:
    """Traces of what runs inside go to LangSmith if `on`, and nowhere if not.

    Prompts must not leave the machine because another project's shell asked for tracing. Raises SettingsError.
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
        # Sends what waits.
        await asyncio.to_thread(client.close, PATIENCE)
