"""The client over aiohttp is the stock client to everybody who cannot see the socket."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import httpx2
import openai
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from langchain_core.callbacks import AsyncCallbackHandler, AsyncCallbackManager
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig

from muser.endpoints.clients import KeptReasoning, PlainChat, is_plain

MESSAGES = [SystemMessage("You are careful."), HumanMessage("My café 😀 hurts. \x07")]
EXTRA = {"temperature": 0.3, "seed": 7, "chat_template_kwargs": {"enable_thinking": False}, "max_tokens": 9}
REPLY = {
    "id": "x",
    "object": "chat.completion",
    "created": 1,
    "model": "served",
    "choices": [
        {"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": "Rést", "reasoning": "why"}}
    ],
    "usage": {
        "prompt_tokens": 9,
        "completion_tokens": 3,
        "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 4},
    },
}


class Listener(AsyncCallbackHandler):
    """Counts the replies that it hears of."""

    def __init__(self) -> None:
        self.heard = 0

    async def on_llm_end(self, *_: Any, **__: Any) -> None:
        self.heard += 1


class Recorder:
    """A server that answers what it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any, dict[str, str]]] = []
        self.asked: list[tuple[str, Any]] = []
        self.headers: list[dict[str, str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.path, json.loads(await request.read())))
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        status, body, headers = self.answers.pop(0)
        return web.Response(status=status, text=json.dumps(body), headers=headers, content_type="application/json")


@pytest.fixture
async def recorder() -> AsyncIterator[tuple[Recorder, str]]:
    recorder = Recorder()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", recorder.answer)
    async with TestServer(app) as server:
        yield recorder, str(server.make_url("/v1"))


async def ask(kind: type[KeptReasoning], url: str, retries: int = 0, listener: Listener | None = None) -> Any:
    """As a node asks: LangGraph gives it the managers of those who listen, mostly of nobody."""
    config: RunnableConfig = {"callbacks": AsyncCallbackManager([listener] if listener else [])}
    async with httpx2.AsyncClient() as client, aiohttp.ClientSession() as session:
        chat = kind(
            model="tiny",
            base_url=url,
            api_key="k-1",
            http_async_client=client,
            timeout=5,
            max_retries=retries,
            cache=False,
        )
        if isinstance(chat, PlainChat):
            chat.use(session, {"Authorization": "Bearer k-1"})
        return await chat.ainvoke(MESSAGES, config, extra_body=EXTRA)


async def test_both_send_the_same_request_and_read_the_same_message(recorder: tuple[Recorder, str]) -> None:
    server, url = recorder
    server.answers = [(200, REPLY, {}), (200, REPLY, {})]
    stock, plain = await ask(KeptReasoning, url), await ask(PlainChat, url)
    assert server.asked[0] == server.asked[1]
    assert server.headers[0]["authorization"] == server.headers[1]["authorization"] == "Bearer k-1"
    assert server.headers[0]["content-type"] == server.headers[1]["content-type"]
    assert plain.content == stock.content == "Rést"
    assert plain.additional_kwargs == stock.additional_kwargs
    assert plain.additional_kwargs["reasoning"] == "why"
    assert plain.usage_metadata == stock.usage_metadata
    for name in ("model_name", "finish_reason", "id"):
        assert plain.response_metadata[name] == stock.response_metadata[name]


async def test_who_listens_to_callbacks_hears_of_the_reply_and_changes_nothing(recorder: tuple[Recorder, str]) -> None:
    server, url = recorder
    server.answers = [(200, REPLY, {}), (200, REPLY, {})]
    listener = Listener()
    unheard, heard = await ask(PlainChat, url), await ask(PlainChat, url, listener=listener)
    assert listener.heard == 1
    assert server.asked[0] == server.asked[1]
    assert unheard.model_copy(update={"id": heard.id}) == heard


@pytest.mark.parametrize("kind", [KeptReasoning, PlainChat])
async def test_a_stream_is_one_whole_reply_with_its_reasoning(
    recorder: tuple[Recorder, str], kind: type[KeptReasoning]
) -> None:
    server, url = recorder
    server.answers = [(200, REPLY, {})]
    async with httpx2.AsyncClient() as client, aiohttp.ClientSession() as session:
        chat = kind(model="tiny", base_url=url, api_key="k-1", http_async_client=client, cache=False)
        if isinstance(chat, PlainChat):
            chat.use(session, {})
        (chunk,) = [chunk async for chunk in chat.astream(MESSAGES) if chunk.content]
    assert "stream" not in server.asked[0][1]
    assert (chunk.content, chunk.additional_kwargs["reasoning"]) == ("Rést", "why")
    assert chunk.usage_metadata
    assert chunk.usage_metadata["output_tokens"] == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 422, 429, 500, 503])
async def test_both_raise_the_same_error_for_every_status(recorder: tuple[Recorder, str], status: int) -> None:
    server, url = recorder
    said = {"error": {"message": "no such thing", "code": 7}}
    server.answers = [(status, said, {}), (status, said, {})]
    errors = []
    for kind in (KeptReasoning, PlainChat):
        with pytest.raises(openai.APIStatusError) as caught:
            await ask(kind, url)
        errors.append(caught.value)
    stock, plain = errors
    assert isinstance(plain, openai.APIStatusError)
    assert (plain.status_code, plain.body, plain.message) == (stock.status_code, stock.body, stock.message)


@pytest.mark.parametrize("kind", [KeptReasoning, PlainChat])
@pytest.mark.parametrize("status", [408, 409, 429, 500, 502])
async def test_both_try_again_what_passes_and_obey_retry_after(
    recorder: tuple[Recorder, str], kind: type[KeptReasoning], status: int
) -> None:
    server, url = recorder
    server.answers = [(status, {}, {"retry-after-ms": "5"}), (status, {}, {"retry-after-ms": "5"}), (200, REPLY, {})]
    assert (await ask(kind, url, retries=2)).content == "Rést"
    assert len(server.asked) == 3


@pytest.mark.parametrize("kind", [KeptReasoning, PlainChat])
async def test_both_leave_alone_what_will_not_pass(recorder: tuple[Recorder, str], kind: type[KeptReasoning]) -> None:
    server, url = recorder
    server.answers = [(503, {}, {"x-should-retry": "false"})]
    with pytest.raises(openai.APIStatusError):
        await ask(kind, url, retries=3)
    assert len(server.asked) == 1


@pytest.mark.parametrize("kind", [KeptReasoning, PlainChat])
async def test_both_say_that_nobody_is_there(kind: type[KeptReasoning]) -> None:
    with pytest.raises(openai.APIConnectionError):
        await ask(kind, "http://127.0.0.1:9/v1")


def test_only_plain_http_without_a_proxy_or_a_password_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.test:3128")
    assert is_plain("http://127.0.0.1:8000/v1"), "this machine is never asked through a proxy"
    assert not is_plain("http://node7.test:8000/v1")
    monkeypatch.delenv("http_proxy")
    assert is_plain("http://node7.test:8000/v1")
    assert not is_plain("https://api.test/v1")
    assert not is_plain("http://user:word@127.0.0.1:8000/v1")
