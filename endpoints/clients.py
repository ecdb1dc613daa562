"""ChatOpenAI as muser uses it: the stock client with the reasoning kept, and the same over aiohttp for plain HTTP.

At 64 calls in flight the stock client's connection pool and request building take most of a run's CPU
(docs/performance.md). TLS and proxies stay with it. What is overridden in ChatOpenAI and asked of the SDK is not
public, so pyproject.toml pins both; a contract test holds the two to the same requests, messages, usage and errors.
"""

import asyncio
import ipaddress
import json
from collections.abc import Mapping
from typing import Any, Literal, cast
from urllib.parse import urlsplit
from urllib.request import getproxies

import aiohttp
import httpx2
import openai
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, BaseCallbackManager
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from langchain_openai import ChatOpenAI
from openai._models import FinalRequestOptions
from pydantic import PrivateAttr

from ..core.surrogates import replace_surrogates


def is_plain(base_url: str) -> bool:
    """Whether nothing stands between here and the server: no TLS, no password, and no proxy for that address."""
    parts = urlsplit(base_url)
    direct = is_loopback(parts.hostname or "") or "http" not in getproxies()
    return parts.scheme == "http" and direct and "@" not in parts.netloc


def is_loopback(host: str) -> bool:
    """Whether a host's name can only mean this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class KeptReasoning(ChatOpenAI):
    """ChatOpenAI that sends nothing of its own accord and keeps the reasoning that vLLM returns beside the text."""

    # Whoever streams the graph gets whole replies: chunks would come without reasoning and cannot be asked for again.
    disable_streaming: bool | Literal["tool_calling"] = True

    def _get_request_payload(self, input_: Any, *, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        payload: dict[str, Any] = super()._get_request_payload(input_, stop=stop, **kwargs)
        payload.pop("stream", None)
        return payload

    def _create_chat_result(self, response: Any, generation_info: dict[str, Any] | None = None) -> ChatResult:
        if isinstance(response, openai.BaseModel):
            response = response.model_dump(warnings=False)
        if isinstance(response, dict):
            response["choices"] = replace_surrogates(response.get("choices"))
        result = super()._create_chat_result(response, generation_info)
        for generation, choice in zip(result.generations, response["choices"], strict=True):
            said = choice["message"]
            reasoning = said.get("reasoning") or said.get("reasoning_content") or ""
            generation.message.additional_kwargs.update(reasoning=reasoning, refusal=said.get("refusal") or "")
        return result


class PlainChat(KeptReasoning):
    """ChatOpenAI whose requests go through a shared aiohttp session."""

    _session: aiohttp.ClientSession = PrivateAttr()
    _headers: dict[str, str] = PrivateAttr()

    def use(self, session: aiohttp.ClientSession, headers: Mapping[str, str]) -> None:
        """Sets the session, and the headers that every request carries."""
        self._session, self._headers = session, {"Content-Type": "application/json", **headers}

    async def ainvoke(
        self, input: Any, config: RunnableConfig | None = None, *, stop: list[str] | None = None, **kwargs: Any
    ) -> AIMessage:
        """As the stock client's, without what prepares and calls LangChain's callbacks where none of them listens."""
        callbacks = ensure_config(config).get("callbacks")
        if not isinstance(callbacks, BaseCallbackManager) or callbacks.handlers:
            return await super().ainvoke(input, config, stop=stop, **kwargs)
        result = await self._agenerate(self._convert_input(input).to_messages(), stop=stop, **kwargs)
        generation = result.generations[0]
        message = cast("AIMessage", generation.message)
        told = generation.generation_info or {}
        message.response_metadata = {**(result.llm_output or {}), **told, **message.response_metadata}
        return message

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002 - nothing is streamed to it
        **kwargs: Any,
    ) -> ChatResult:
        payload = self._get_request_payload(messages, stop=stop, **kwargs)
        payload |= payload.pop("extra_body", None) or {}
        body = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
        return self._create_chat_result(await self._post(body.encode("utf-8", "surrogatepass")))

    async def _post(self, body: bytes) -> Any:
        """The answer's JSON. Tries again when and as long after as the SDK would, and raises what it would."""
        sdk, url, left = self.root_async_client, f"{self.openai_api_base}/chat/completions", self.max_retries or 0
        while True:
            answer: httpx2.Response | None = None
            try:
                async with self._session.post(url, data=body, headers=self._headers) as response:
                    content = await response.read()
                    if response.status < 400:
                        return json.loads(content)
                answer = _as_the_sdk_reads(response, content)
                error: openai.APIError = sdk._make_status_error_from_response(answer)
                cause: Exception | None = None
                passing = sdk._should_retry(answer)
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as lost:
                error = openai.APIConnectionError(message=str(lost), request=httpx2.Request("POST", url))
                cause, passing = lost, True
            if not passing or not left:
                raise error from cause
            options = FinalRequestOptions.construct(method="post", url=url, max_retries=left)
            await asyncio.sleep(sdk._calculate_retry_timeout(left, options, answer.headers if answer else None))
            left -= 1


def _as_the_sdk_reads(response: aiohttp.ClientResponse, content: bytes) -> httpx2.Response:
    headers = [(name, value) for name, value in response.headers.items() if name.lower() != "content-encoding"]
    request = httpx2.Request("POST", str(response.url))
    return httpx2.Response(response.status, headers=headers, content=content, request=request)
