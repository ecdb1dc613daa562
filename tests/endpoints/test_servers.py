"""One model at several servers: a sample's calls keep to one, and where one is gone another takes over."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muser.core.errors import EndpointRefused, EndpointUnreachable
from muser.core.recipe import RoleSettings
from muser.core.types import Message, Request
from muser.endpoints.client.chat import open_endpoints

from .client.test_chat import dead_url
from .conftest import settings

Simulate = Callable[..., str]
REQUEST = Request(messages=(Message(role="user", content="I have asthma."),))
ROLE = RoleSettings(model="m")


def both(one: str, other: str, **changes: Any) -> Any:
    return settings(one, **changes).model_copy(update={"base_url": [one, other]})


def lines(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


async def test_a_sample_keeps_to_one_server_and_samples_spread(simulate: Simulate, tmp_path: Path) -> None:
    logs = [tmp_path / "a", tmp_path / "b"]
    async with open_endpoints({"m": both(*(simulate(log=log) for log in logs))}) as endpoints:
        servers = {key: endpoints["m"].at(key) for key in (f"s{number:06d}" for number in range(40))}
        assert all(endpoints["m"].at(key) is server for key, server in servers.items())
        for server in servers.values():
            await server.complete(REQUEST, ROLE, 1)
    assert sum(map(lines, logs)) == 40
    assert all(lines(log) >= 10 for log in logs)


async def test_where_a_server_is_gone_the_other_takes_over(simulate: Simulate, tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with open_endpoints({"m": both(dead_url(), simulate(log=log))}) as endpoints:
        for seed in range(6):
            await endpoints["m"].at(f"s{seed}").complete(REQUEST, ROLE, seed)
        assert {endpoints["m"].at(f"s{seed}").where for seed in range(6)} == {endpoints["m"].at("s1").where}
    assert lines(log) == 6


async def test_where_every_server_is_gone_the_call_fails() -> None:
    async with open_endpoints({"m": both(dead_url(), dead_url())}) as endpoints:
        with pytest.raises(EndpointUnreachable):
            await endpoints["m"].complete(REQUEST, ROLE, 1)


async def test_the_check_asks_every_server(simulate: Simulate, simulated: str) -> None:
    async with open_endpoints({"m": both(simulated, dead_url())}) as endpoints:
        with pytest.raises(EndpointUnreachable):
            await endpoints["m"].check()
    async with open_endpoints({"m": both(simulated, simulate(key="k"))}) as endpoints:
        with pytest.raises(EndpointRefused):
            await endpoints["m"].check()


async def test_the_loads_of_all_servers_are_told(simulate: Simulate, simulated: str) -> None:
    plain = simulate(lacks={"metrics"})
    async with open_endpoints({"m": both(simulated, plain)}) as endpoints:
        loads = await endpoints["m"].loads()
    assert list(loads) == [simulated.removesuffix("/v1")]
    assert loads[simulated.removesuffix("/v1")].waiting == 0


async def test_the_context_is_told_where_the_server_tells(simulated: str) -> None:
    async with open_endpoints({"m": settings(simulated)}) as endpoints:
        assert await endpoints["m"].context() == 32768


async def test_an_adapters_context_is_its_base_models(serve: Any) -> None:
    from aiohttp import web

    cards = [{"id": "base", "max_model_len": 4096}, {"id": "tuned", "parent": "base", "max_model_len": None}]

    async def listen(_: web.Request) -> web.Response:
        return web.Response(text=json.dumps({"data": cards}), content_type="application/json")

    url = await serve(listen)
    async with open_endpoints({"m": settings(url, model="tuned"), "n": settings(url, model="other")}) as endpoints:
        assert (await endpoints["m"].context(), await endpoints["n"].context()) == (4096, None)


async def test_llamacpps_context_is_in_its_models_facts(serve: Any) -> None:
    from aiohttp import web

    cards = [{"id": "small", "meta": {"n_ctx": 2048, "n_ctx_train": 8192}}]

    async def listen(_: web.Request) -> web.Response:
        return web.Response(text=json.dumps({"data": cards}), content_type="application/json")

    async with open_endpoints({"m": settings(await serve(listen), model="small")}) as endpoints:
        assert await endpoints["m"].context() == 2048
