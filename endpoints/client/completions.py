"""Chat completions: LangChain's ChatOpenAI over muser's HTTP client, and the validation of a server's JSON.

The overridden methods of ChatOpenAI are private: a contract test compares requests and messages with the stock class.
"""

import json
from collections.abc import Mapping
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, BaseCallbackManager
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from ...core.surrogates import replace_surrogates
from .transport import Client

MOST_TOKENS = 10**9  # larger counts are ignored as invalid; their sums could overflow SQLite's 64-bit integers
LABEL = 200  # characters kept of a finish reason or a model's name


class ChatModel(ChatOpenAI):
    """ChatOpenAI whose requests go through muser's client. Made by `open_chat`.

    `additional_kwargs` holds the reasoning that a server returns beside the text (the stock class drops it) and a
    refusal. Calls pass everything except the messages as `extra_body`.
    """

    async def ainvoke(
        self, input: Any, config: RunnableConfig | None = None, *, stop: list[str] | None = None, **kwargs: Any
    ) -> AIMessage:
        """Like the stock class's, but skips LangChain's callback machinery if no callback is registered."""
        callbacks = ensure_config(config).get("callbacks")
        if not isinstance(callbacks, BaseCallbackManager) or callbacks.handlers:
            return await super().ainvoke(input, config, stop=stop, **kwargs)
        result = await self._agenerate(self._convert_input(input).to_messages(), stop=stop, **kwargs)
        return cast("AIMessage", result.generations[0].message)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002 - nothing is streamed to it
        **kwargs: Any,
    ) -> ChatResult:
        payload = self._get_request_payload(messages, stop=stop, **kwargs)
        payload.pop("stream", None)
        payload |= payload.pop("extra_body", None) or {}
        text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
        client, headers = cast("Client", self.async_client), self.default_headers or {}
        content = await client.post("chat/completions", text.encode("utf-8", "surrogatepass"), headers)
        try:
            return self._create_chat_result(read_completion(content))
        except Exception as error:
            # Any exception here comes from the server's JSON, so the server is at fault.
            raise client.failures.unusable(error) from error

    def _create_chat_result(self, response: Any, generation_info: dict[str, Any] | None = None) -> ChatResult:
        result = super()._create_chat_result(response, generation_info)
        message, said = result.generations[0].message, response["choices"][0]["message"]
        message.additional_kwargs.update(reasoning=said["reasoning"], refusal=said["refusal"])
        message.response_metadata = {
            **(result.llm_output or {}),
            "finish_reason": response["choices"][0]["finish_reason"],
        }
        return result


def open_chat(model: str, client: Client, headers: Mapping[str, str]) -> ChatModel:
    """The chat model of one server, or of the engine that `headers` select."""
    return ChatModel(
        model=model,
        # With a client given, ChatOpenAI builds none from OpenAI's SDK, so it reads no key, organization or proxy.
        client=client,
        async_client=client,
        api_key=SecretStr("unused"),
        base_url=client.url,
        default_headers=dict(headers),
        # A streamed completion would differ from the request that the ledger records.
        disable_streaming=True,
        use_responses_api=False,
        cache=False,
    )


def read_completion(content: bytes) -> dict[str, Any]:
    """A chat completion's first choice, in the form that LangChain reads. Invalid JSON raises, not always ValueError.

    Passes on only text (content, reasoning, refusal, labels) and token counts, and nothing else that the server sends.
    """
    completion = replace_surrogates(json.loads(content))
    if completion.get("error"):
        raise ValueError(completion["error"])
    choice = completion["choices"][0]
    said = choice["message"]
    message = {
        "role": "assistant",
        "content": _read_text(said.get("content")),
        "reasoning": _read_text(said.get("reasoning") or said.get("reasoning_content")),
        "refusal": _read_text(said.get("refusal")),
    }
    return {
        "choices": [{"message": message, "finish_reason": _read_label(choice.get("finish_reason"))}],
        "usage": _read_usage(completion.get("usage")),
        "model": _read_label(completion.get("model")),
        "system_fingerprint": _read_label(completion.get("system_fingerprint")),
    }


def _read_label(value: Any) -> str:
    return str(value or "")[:LABEL]


def _read_text(content: Any) -> str:
    """A message's content: text, nothing, or a list of parts."""
    if isinstance(content, list):
        return "".join(_read_text(part.get("text")) for part in content if part.get("type") == "text")
    if isinstance(content, str | None):
        return content or ""
    raise TypeError(f"text is expected, not {type(content).__name__}")


def _read_usage(usage: Any) -> dict[str, Any]:
    told = usage if isinstance(usage, dict) else {}
    details = told.get("prompt_tokens_details")
    cached = _read_count(details.get("cached_tokens")) if isinstance(details, dict) else 0
    asked, written = _read_count(told.get("prompt_tokens")), _read_count(told.get("completion_tokens"))
    return {
        "prompt_tokens": asked,
        "completion_tokens": written,
        "total_tokens": asked + written,
        "prompt_tokens_details": {"cached_tokens": min(cached, asked)},
    }


def _read_count(value: Any) -> int:
    """A number of tokens; 0 if the value cannot be one."""
    is_count = isinstance(value, int | float) and 0 <= value <= MOST_TOKENS and value == int(value)
    return int(value) if is_count else 0
