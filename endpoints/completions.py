"""Chat completions: the chat model that LangChain sees, and what is read from the JSON that a server sends."""

import json
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, BaseCallbackManager, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from pydantic import Field

from ..core.surrogates import replace_surrogates
from .clients import Client

ROLES = {"system": "system", "human": "user", "ai": "assistant"}
MOST_TOKENS = 10**9  # a count above is no count of tokens; sums of larger ones would overflow in SQLite
LABEL = 200  # characters of a finish reason or a model's name that are kept


class ChatModel(BaseChatModel):
    """One server's model for LangChain: callbacks, spans and the graph's streams see its calls.

    The reasoning that a server returns beside the text is in `additional_kwargs`, as is a refusal. Calls pass their
    request's whole body but the messages as `body`.
    """

    model: str
    client: Client = Field(exclude=True, repr=False)
    headers: dict[str, str] = Field({}, exclude=True)
    # A streamed completion would be another request than the one that the ledger records.
    disable_streaming: bool = True

    @property
    def _llm_type(self) -> str:
        return "muser"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model}

    async def ainvoke(
        self, input: Any, config: RunnableConfig | None = None, *, stop: list[str] | None = None, **kwargs: Any
    ) -> AIMessage:
        """As LangChain's own, without what prepares and calls its callbacks where none of them listens."""
        callbacks = ensure_config(config).get("callbacks")
        if not isinstance(callbacks, BaseCallbackManager) or callbacks.handlers:
            return await super().ainvoke(input, config, stop=stop, **kwargs)
        result = await self._agenerate(self._convert_input(input).to_messages(), stop, **kwargs)
        return cast("AIMessage", result.generations[0].message)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002 - nothing is streamed to it
        **kwargs: Any,
    ) -> ChatResult:
        turns = [{"role": ROLES[message.type], "content": message.content} for message in messages]
        sent = {"model": self.model, **({"stop": stop} if stop else {}), **kwargs.get("body", {}), "messages": turns}
        text = json.dumps(sent, ensure_ascii=False, separators=(",", ":"))
        content = await self.client.post("chat/completions", text.encode("utf-8", "surrogatepass"), self.headers)
        try:
            message = read_completion(content)
        except Exception as error:
            # Whatever a server's JSON makes Python raise, the JSON is at fault.
            raise self.client.failures.unusable(error) from error
        return ChatResult(
            generations=[ChatGeneration(message=message)],
            llm_output={"model_name": message.response_metadata["model_name"]},
        )

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise NotImplementedError("a ChatModel is asked by ainvoke")


def read_completion(content: bytes) -> AIMessage:
    """The first choice of a chat completion. What is none raises, and not always a ValueError.

    Text is text, reasoning is text, and counts are counts of tokens or 0: nothing that a server can send gets further.
    """
    completion = replace_surrogates(json.loads(content))
    if completion.get("error"):
        raise ValueError(completion["error"])
    choice = completion["choices"][0]
    said = choice["message"]
    return AIMessage(
        content=_read_text(said.get("content")),
        additional_kwargs={
            "reasoning": _read_text(said.get("reasoning") or said.get("reasoning_content")),
            "refusal": _read_text(said.get("refusal")),
        },
        usage_metadata=_read_usage(completion.get("usage")),
        response_metadata={
            "finish_reason": str(choice.get("finish_reason") or "")[:LABEL],
            "model_name": str(completion.get("model") or "")[:LABEL],
        },
    )


def _read_text(content: Any) -> str:
    """A message's content: text, nothing, or a list of parts."""
    if isinstance(content, list):
        return "".join(_read_text(part.get("text")) for part in content if part.get("type") == "text")
    if isinstance(content, str | None):
        return content or ""
    raise TypeError(f"text is expected, not {type(content).__name__}")


def _read_usage(usage: Any) -> UsageMetadata:
    told = usage if isinstance(usage, dict) else {}
    details = told.get("prompt_tokens_details")
    cached = _read_count(details.get("cached_tokens")) if isinstance(details, dict) else 0
    asked, written = _read_count(told.get("prompt_tokens")), _read_count(told.get("completion_tokens"))
    return UsageMetadata(
        input_tokens=asked,
        output_tokens=written,
        total_tokens=asked + written,
        input_token_details=InputTokenDetails(cache_read=min(cached, asked)),
    )


def _read_count(value: Any) -> int:
    """A number of tokens; 0, as if it were not told, where it cannot be one."""
    is_count = isinstance(value, int | float) and 0 <= value <= MOST_TOKENS and value == int(value)
    return int(value) if is_count else 0
