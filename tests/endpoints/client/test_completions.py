"""LangChain's stock client and muser's are one to a server and to whoever reads the message."""

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aiohttp
import httpx2
import openai
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from langchain_core.callbacks import AsyncCallbackHandler, AsyncCallbackManager
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI

from muser.core.errors import EndpointError
from muser.core.recipe import ModelSettings
from muser.endpoints.client.completions import ChatModel, open_chat
from muser.endpoints.client.failures import Failures
from muser.endpoints.client.keys import Secrets
from muser.endpoints.client.transport import Client, open_session

MESSAGES = [SystemMessage("You are careful."), HumanMessage("My café 😀 hurts. \x07"), AIMessage("Where?")]
BODY = {"temperature": 0.3, "seed": 7, "chat_template_kwargs": {"enable_thinking": False}, "max_tokens": 9}
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


async def ask(url: str, retries: int = 0, listener: Listener | None = None) -> AIMessage:
    """As a node asks: LangGraph gives it the managers of those who listen, mostly of nobody."""
    config: RunnableConfig = {"callbacks": AsyncCallbackManager([listener] if listener else [])}
    async with open_session([url]) as session:
        return await chat_at(url, session, retries).ainvoke(MESSAGES, config, extra_body=BODY)


def chat_at(url: str, session: aiohttp.ClientSession, retries: int = 0) -> ChatModel:
    settings, secrets = ModelSettings(model="tiny", base_url=url, retries=retries), Secrets(key="k-1")
    client = Client(settings, secrets, Failures("m", None, secrets, url), session, url)
    return open_chat("tiny", client, {})


async def ask_stock(url: str, retries: int = 0) -> AIMessage:
    async with httpx2.AsyncClient() as client:
        chat = ChatOpenAI(
            model="tiny", base_url=url, api_key="k-1", http_async_client=client, max_retries=retries, cache=False
        )
        return await chat.ainvoke(MESSAGES, extra_body=BODY)


async def test_both_send_the_same_request_and_read_the_same_message(recorder: tuple[Recorder, str]) -> None:
    server, url = recorder
    server.answers = [(200, REPLY, {}), (200, REPLY, {})]
    stock, ours = await ask_stock(url), await ask(url)
    stocks_own = {"stream"}
    assert {key: value for key, value in server.asked[0][1].items() if key not in stocks_own} == server.asked[1][1]
    assert server.asked[0][0] == server.asked[1][0]
    for name in ("authorization", "content-type"):
        assert server.headers[0][name] == server.headers[1][name]
    assert ours.content == stock.content == "Rést"
    assert ours.additional_kwargs["reasoning"] == "why"
    assert ours.usage_metadata is not None
    assert stock.usage_metadata is not None
    assert ours.usage_metadata["input_token_details"] == stock.usage_metadata["input_token_details"]
    for count in ("input_tokens", "output_tokens", "total_tokens"):
        assert ours.usage_metadata[count] == stock.usage_metadata[count]
    for name in ("model_name", "finish_reason"):
        assert ours.response_metadata[name] == stock.response_metadata[name]


async def test_who_listens_to_callbacks_hears_of_the_reply_and_changes_nothing(recorder: tuple[Recorder, str]) -> None:
    server, url = recorder
    server.answers = [(200, REPLY, {}), (200, REPLY, {})]
    listener = Listener()
    unheard, heard = await ask(url), await ask(url, listener=listener)
    assert listener.heard == 1
    assert server.asked[0] == server.asked[1]
    assert (unheard.content, unheard.usage_metadata) == (heard.content, heard.usage_metadata)
    assert unheard.additional_kwargs == heard.additional_kwargs


async def test_a_stream_is_one_whole_reply_with_its_reasoning(recorder: tuple[Recorder, str]) -> None:
    server, url = recorder
    server.answers = [(200, REPLY, {})]
    async with open_session([url]) as session:
        (chunk,) = [chunk async for chunk in chat_at(url, session).astream(MESSAGES) if chunk.content]
    assert "stream" not in server.asked[0][1]
    assert (chunk.content, chunk.additional_kwargs["reasoning"]) == ("Rést", "why")
    assert chunk.usage_metadata
    assert chunk.usage_metadata["output_tokens"] == 3


SAYS: tuple[dict[str, str], ...] = ({}, {"x-should-retry": "false"}, {"x-should-retry": "true"}, {"retry-after": "300"})


@pytest.mark.parametrize("says", SAYS, ids=["", "no", "yes", "in five minutes"])
@pytest.mark.parametrize("status", [400, 401, 404, 408, 409, 422, 429, 500, 503])
async def test_both_retry_after_the_same_answers(
    recorder: tuple[Recorder, str], status: int, says: dict[str, str]
) -> None:
    server, url = recorder
    headers = {"retry-after-ms": "5"} | says if "retry-after" not in says else says
    asked = []
    for call in (ask_stock, ask):
        server.answers, server.asked = [(status, {"error": {"message": "no"}}, headers), (200, REPLY, {})], []
        with suppress(openai.APIStatusError, EndpointError):
            await call(url, retries=1)
        asked.append(len(server.asked))
    assert asked[0] == asked[1]
