"""Answers that no honest server gives, over plain HTTP and over TLS: each is a reply or an EndpointError."""

import gzip
import json
import resource
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from muser.core.errors import EndpointOverloaded, EndpointRefused
from muser.core.types import Usage
from muser.endpoints.client.chat import open_endpoints
from muser.endpoints.client.transport import LARGEST

from .conftest import Serve, ServeRaw, ask, completion, settings

GOOD = json.dumps(completion(content="Rest."))
MEBIBYTE = 2**20


def http(body: str | bytes, *headers: str, length: int | None = None) -> bytes:
    raw = body.encode() if isinstance(body, str) else body
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(raw) if length is None else length}", *headers, "", ""]
    return "\r\n".join(lines).encode() + raw


def chunked(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body


def redirect(status: int, to: str) -> bytes:
    return f"HTTP/1.1 {status} Moved\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize("count", ["1.5", "NaN", "Infinity", "-3", str(2**70), '"7"', "[]", "true", "1e300"])
async def test_a_count_that_is_none_costs_the_count_and_not_the_reply(serve: Serve, count: str) -> None:
    usage = (
        f'{{"prompt_tokens": {count}, "completion_tokens": 7, "prompt_tokens_details": {{"cached_tokens": {count}}}}}'
    )

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=f'{GOOD[:-1]}, "usage": {usage}}}', content_type="application/json")

    reply = await ask(settings(await serve(answer)))
    told = 1 if count == "true" else 0
    assert (reply.text, reply.usage) == ("Rest.", Usage(tokens_in=told, tokens_out=7, tokens_cached=told))


@pytest.mark.parametrize(
    "odd",
    [
        {"usage": [1]},
        {"usage": {"prompt_tokens_details": 3}},
        {"model": {"a": 1}, "id": [2]},
        {"model": "\ud800" + "m" * 10**6},
        {"choices": [{"finish_reason": ["\ud800"] * 10**5, "message": {"content": "Rest.", "tool_calls": [{"x": 1}]}}]},
    ],
    ids=["usage", "details", "labels", "a long label", "choice"],
)
async def test_what_stands_beside_the_text_can_be_anything(serve: Serve, odd: dict[str, Any]) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=json.dumps(json.loads(GOOD) | odd), content_type="application/json")

    reply = await ask(settings(await serve(answer)))
    assert reply.text == "Rest."
    assert len(reply.model + reply.finish_reason) <= 400
    reply.model_dump_json().encode()


REFUSED = {
    "deep JSON": http('{"choices": ' + "[" * 100_000),
    "deep JSON, closed": http(GOOD[:-1] + ', "x": ' + "[" * 990 + "]" * 990 + "}" + "]" * 100_000),
    "a number of 5,000 digits": http(GOOD[:-1] + f', "created": {"1" * 5000}}}'),
    "text that is a mapping": http(json.dumps(completion(content={"text": "Rest."}))),
    "a part of text that is a list": http(json.dumps(completion(content=[{"type": "text", "text": [1]}]))),
    "no UTF-8": http(b"\xff\xfe\xfa"),
    "an empty body": http(b""),
    "a header of 10,000 bytes": http(GOOD, "X-Long: " + "a" * 10_000),
    "a header without a colon": http(GOOD, "nonsense"),
    "a code that nobody can read": http(GOOD, "Content-Encoding: br"),
    "a chunk size that is no number": chunked(b"zz\r\nabc\r\n0\r\n\r\n"),
    "a negative chunk": chunked(b"-1\r\nabc\r\n0\r\n\r\n"),
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n" * 10,
    "a status that is no number": b"HTTP/1.1 abc OK\r\n\r\n",
    "HTTP of another planet": b"HTTP/77.9 200 OK\r\n\r\n",
    "two lengths": http(GOOD, "Content-Length: 3"),
    "a negative length": http(GOOD, length=-5),
}


@pytest.mark.parametrize("answer", REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_no_chat_completion_is_refused(serve_raw: ServeRaw, answer: bytes) -> None:
    with pytest.raises(EndpointRefused, match="not a chat completion") as refused:
        await ask(settings(await serve_raw(answer)))
    assert len(str(refused.value)) < 800


LOST = {
    "nothing": b"",
    "half a status line": b"HTTP/1.1 2",
    "a length too large": http(GOOD, length=len(GOOD) + 1),
    "gzip that is none": http(GOOD, "Content-Encoding: gzip"),
    "a chunk that never ends": chunked(b"ffffff\r\nabc"),
    "gzip that breaks off": http(gzip.compress(GOOD.encode() * 100)[:40], "Content-Encoding: gzip", length=400),
}


@pytest.mark.parametrize("answer", LOST.values(), ids=LOST.keys())
async def test_an_answer_that_breaks_off_is_no_missing_server(serve_raw: ServeRaw, answer: bytes) -> None:
    """Else the run would stop, wait for the server, and meet the same sample first when it resumes."""
    with pytest.raises(EndpointOverloaded, match="no complete response in 1 try"):
        await ask(settings(await serve_raw(answer)))


async def endless(first: bytes, part: bytes) -> AsyncIterator[bytes]:
    """As good as endless: four times what is read."""
    yield first
    for _ in range(min(4 * LARGEST // len(part), 2000)):
        yield part


async def bomb() -> AsyncIterator[bytes]:
    yield http(gzip.compress(b" " * 40 * MEBIBYTE), "Content-Encoding: gzip")


ENDLESS = {
    "body": lambda: endless(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 2**17),
    "chunks": lambda: endless(chunked(b""), b"20000\r\n" + b" " * 2**17 + b"\r\n"),
    "error": lambda: endless(b"HTTP/1.1 400 Bad\r\n\r\n", b"no, " * 2**15),
    "compressed": bomb,
}


@pytest.mark.parametrize("make", ENDLESS.values(), ids=ENDLESS.keys())
async def test_an_answer_without_an_end_is_read_up_to_a_limit(serve_raw: ServeRaw, make: Any) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(EndpointRefused, match=f"the response is longer than {LARGEST // MEBIBYTE} MiB"):
        await ask(settings(await serve_raw(make())))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 100, "MiB"


@pytest.mark.parametrize(
    ("start", "part"),
    [(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 100), (b"HTTP/1.1 200 OK\r\nX: ", b"y" * 1000)],
    ids=["lines", "one line"],
)
async def test_headers_without_an_end_are_refused(serve_raw: ServeRaw, start: bytes, part: bytes) -> None:
    with pytest.raises(EndpointRefused):
        await ask(settings(await serve_raw(endless(start, part))))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 399])
@pytest.mark.parametrize(
    "to", ["/v1/chat/completions", "file:///etc/passwd", "http://[", "", "//[::1]:1/" + "x" * 5000]
)
async def test_a_redirect_is_refused_and_told(serve_raw: ServeRaw, status: int, to: str) -> None:
    with pytest.raises(EndpointRefused, match="redirects to") as refused:
        await ask(settings(await serve_raw(redirect(status, to)), retries=3))
    assert to[:200] in str(refused.value)
    assert len(str(refused.value)) < 800


@pytest.mark.parametrize("status", [302, 307, 308])
async def test_neither_prompt_nor_secret_follows_a_redirect(
    serve: Serve, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    async def thief(request: web.Request) -> web.Response:
        seen.append(f"{request.headers} {await request.text()}")
        return web.json_response(completion(content="Thanks."))

    elsewhere = await serve(thief)

    async def point(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": f"{elsewhere}{request.path.removeprefix('/v1')}"})

    monkeypatch.setenv("MUSER_TEST_SECRET", "the secret")
    model = settings(await serve(point), headers_env={"X-Secret": "MUSER_TEST_SECRET"})
    with pytest.raises(EndpointRefused, match="redirects"):
        await ask(model)
    async with open_endpoints({"m": model}) as endpoints:
        with pytest.raises(EndpointRefused, match="redirects"):
            await endpoints["m"].check()
        assert await endpoints["m"].loads() == {}
    assert seen == []
