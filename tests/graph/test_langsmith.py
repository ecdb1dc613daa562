"""Traces go to LangSmith if the recipe says so, and nowhere otherwise, even if the environment asks for it."""

import os
from collections.abc import Callable, Iterator

import pytest
from aiohttp import web
from langsmith.utils import get_env_var, tracing_is_enabled

from muser.core.errors import SettingsError
from muser.core.recipe import Recipe
from muser.graph.run import run_recipe
from muser.store.file.database import Store

from .receiver import receiver

MakeRecipe = Callable[..., Recipe]


class Service:
    """As much of LangSmith as its client asks for."""

    def __init__(self) -> None:
        self.received: list[bytes] = []

    async def tell(self, _: web.Request) -> web.Response:
        return web.json_response({"batch_ingest_config": {}})

    async def take(self, request: web.Request) -> web.Response:
        self.received.append(await request.read())
        return web.json_response({}, status=202)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A shell in which another project has turned tracing on."""
    found = Service()
    with receiver(web.get("/info", found.tell), web.post("/runs/{way:.*}", found.take)) as address:
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
