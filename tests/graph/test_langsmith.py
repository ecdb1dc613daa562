"""Traces go to LangSmith if the recipe says so, and nowhere otherwise, whatever the environment asks for."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from aiohttp import web
from anyio.from_thread import start_blocking_portal
from langsmith.utils import get_env_var, tracing_is_enabled

from muser.core.errors import SettingsError
from muser.core.recipe import Recipe
from muser.graph.run import run_recipe
from muser.store.file.database import Store

MakeRecipe = Callable[..., Recipe]


class Service:
    """As much of LangSmith as its client asks for."""

    def __init__(self) -> None:
        self.received: list[bytes] = []

    async def __aenter__(self) -> str:
        app = web.Application(client_max_size=2**26)
        app.router.add_get("/info", self.tell)
        app.router.add_post("/runs/{way:.*}", self.take)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def __aexit__(self, *_: object) -> None:
        await self.runner.cleanup()

    async def tell(self, _: web.Request) -> web.Response:
        return web.json_response({"batch_ingest_config": {}})

    async def take(self, request: web.Request) -> web.Response:
        self.received.append(await request.read())
        return web.json_response({}, status=202)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A shell in which another project has turned tracing on."""
    found = Service()
    with start_blocking_portal() as portal, ExitStack() as stack:
        address = stack.enter_context(portal.wrap_async_context_manager(found))
        for name, value in (("TRACING", "true"), ("ENDPOINT", address), ("API_KEY", "lsv2_of-a-test")):
            monkeypatch.setenv(f"LANGSMITH_{name}", value)
        monkeypatch.setenv("LANGSMITH_DISABLE_RUN_COMPRESSION", "true")
        get_env_var.cache_clear()  # type: ignore[attr-defined]
        yield found
        get_env_var.cache_clear()  # type: ignore[attr-defined]


async def test_a_run_is_not_traced_and_the_environment_stays_as_it_is(
    simulated: str, make_recipe: MakeRecipe, store: Store, service: Service
) -> None:
    assert (await run_recipe(make_recipe(simulated, samples=1), store)).done == 1
    assert service.received == []
    assert os.environ["LANGSMITH_TRACING"] == "true"
    assert tracing_is_enabled(), "what else runs in this process is traced as before"


async def test_a_recipe_turns_tracing_on(
    simulated: str, make_recipe: MakeRecipe, store: Store, service: Service
) -> None:
    assert (await run_recipe(make_recipe(simulated, samples=1, langsmith=True), store)).done == 1
    sent = b"".join(service.received)
    for name in (b"persona", b"respond", b"safety", b"refine", b"ChatModel"):
        assert name in sent
    assert b"lsv2_" not in sent


async def test_tracing_without_a_key_is_refused_before_anything_is_asked(
    make_recipe: MakeRecipe, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LANGSMITH_API_KEY", raising=False)
    with pytest.raises(SettingsError, match="LANGSMITH_API_KEY"):
        await run_recipe(make_recipe("http://127.0.0.1:9/v1", samples=1, langsmith=True), store)


async def test_a_variable_that_langchain_refuses_is_named(
    simulated: str, make_recipe: MakeRecipe, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGCHAIN_TRACING", "true")
    with pytest.raises(SettingsError, match="LANGCHAIN_TRACING"):
        await run_recipe(make_recipe(simulated, samples=1), store)
