"""One client for plain HTTP, TLS and proxies; how long it waits, and what it says where nobody is."""

import socket
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web

from muser.core.errors import EndpointUnreachable, SettingsError
from muser.endpoints.client import transport
from muser.endpoints.client.transport import Answer, find_proxy, pause_before_retry

from ..conftest import Serve, ask, completion, settings


@pytest.fixture
async def secure(trusted: ssl.SSLContext) -> AsyncIterator[str]:
    """The base_url of a server that speaks TLS."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(completion(content=f"over {request.scheme}"))

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=trusted).start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}/v1"
    await runner.cleanup()


async def test_a_certificate_that_the_environment_trusts_is_trusted(secure: str) -> None:
    assert (await ask(settings(secure))).text == "over https"


async def test_another_is_refused_naming_what_to_set(secure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(EndpointUnreachable, match="CERTIFICATE_VERIFY_FAILED") as unreachable:
        await ask(settings(secure))
    assert "SSL_CERT_FILE" in unreachable.value.todo


async def test_tls_with_a_server_that_has_none_is_unreachable(serve: Serve) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response()

    with pytest.raises(EndpointUnreachable):
        await ask(settings((await serve(answer)).replace("http:", "https:")))


async def test_a_server_that_takes_no_connection_is_unreachable_before_the_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its queue is full, as a host's that drops packets seems: connecting hangs."""
    monkeypatch.setattr(transport, "CONNECT_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        with pytest.raises(EndpointUnreachable):
            await ask(settings(f"http://127.0.0.1:{address[1]}/v1", timeout=60))
        for filler in fillers:
            filler.close()


async def test_a_handshake_that_hangs_is_unreachable_before_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "CONNECT_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(EndpointUnreachable):
        await ask(settings(f"https://127.0.0.1:{silent.getsockname()[1]}/v1", timeout=60))


async def test_a_proxy_is_given_the_request_and_its_own_password(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str | None]] = []

    async def proxy(request: web.Request) -> web.Response:
        seen.append((str(request.url), request.headers.get("Proxy-Authorization")))
        return web.json_response(completion(content="by proxy"))

    address = (await serve(proxy)).removesuffix("/v1").replace("//", "//me:word@")
    monkeypatch.setenv("http_proxy", address)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    reply = await ask(settings("http://node7.test:8000/v1"))
    assert reply.text == "by proxy"
    assert seen == [("http://node7.test:8000/v1/chat/completions", "Basic bWU6d29yZA==")]


def test_the_environment_names_the_proxy_but_never_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert find_proxy("https://api.test/v1") is None
    monkeypatch.setenv("https_proxy", "proxy.test:3128")
    assert find_proxy("https://api.test/v1") == "http://proxy.test:3128"
    assert find_proxy("http://api.test/v1") is None
    monkeypatch.setenv("all_proxy", "http://other.test")
    assert find_proxy("http://api.test/v1") == "http://other.test"
    for host in ("localhost", "127.0.0.2", "[::1]", "a.localhost"):
        assert find_proxy(f"http://{host}:8000/v1") is None
    monkeypatch.setenv("no_proxy", "api.test")
    assert find_proxy("https://api.test/v1") is None


def test_a_proxy_of_another_kind_is_a_settings_error_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks5://me:word@proxy.test")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(SettingsError, match="support socks5 proxies") as refused:
        find_proxy("https://api.test/v1")
    assert "word" not in str(refused.value)


def pause(status: int, tried: int = 1, **headers: str) -> float | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return pause_before_retry(Answer(status, named, b""), tried)


def test_pauses_double_up_to_a_limit_and_follow_the_server() -> None:
    for tried, longest in ((1, 0.5), (2, 1.0), (3, 2.0), (5, 8.0), (2000, 8.0)):
        waited = pause(503, tried)
        assert waited is not None
        assert 0.75 * longest <= waited <= longest
    assert pause(429, retry_after_ms="20", retry_after="9") == 0.02
    assert pause(429, retry_after="7") == 7
    soon = pause(429, retry_after=format_datetime(datetime.now(UTC) + timedelta(seconds=60)))
    assert soon is not None
    assert 50 < soon <= 60


@pytest.mark.parametrize("told", ["nan", "-3", "soon", "0", "", "Tue, 99 Nov 2026 99:99:99 GMT"])
def test_a_pause_that_cannot_be_read_is_none(told: str) -> None:
    waited = pause(503, retry_after=told)
    assert waited is not None
    assert waited <= 0.5


@pytest.mark.parametrize("told", ["121", "inf", "1e400"])
def test_a_pause_of_more_than_two_minutes_is_not_waited_for(told: str) -> None:
    assert pause(503, retry_after=told) is None


async def test_a_connection_that_was_lost_is_tried_again(serve: Serve) -> None:
    asked = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        if asked == 1 and request.transport:
            request.transport.abort()
        return web.json_response(completion(content="Rest."))

    assert (await ask(settings(await serve(answer), retries=1))).text == "Rest."
    assert asked == 2
