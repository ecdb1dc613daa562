"""Chat models at OpenAI-compatible endpoints: one request in, one reply out, every failure a MuserError."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from pydantic import JsonValue

from ...core.errors import EndpointError, EndpointRefused, EndpointUnreachable, SettingsError
from ...core.hashing import derive_seed
from ...core.recipe import ModelSettings, RoleSettings
from ...core.types import SIMULATED, Message, Reply, Request, Usage
from .completions import open_chat
from .failures import Failures
from .keys import Secrets, read_secrets
from .langsmith import langsmith_tracing
from .metrics import Load, read_load
from .structured import response_format, with_schema
from .transport import Client, open_session

CHECK_TIMEOUT = 30.0  # seconds
METRICS_TIMEOUT = 3.0  # seconds
DOWN = 30.0  # seconds for which an unreachable server is skipped if the model has others
RANK = "X-data-parallel-rank"  # vLLM's header that selects one of a server's engines
EFFORTS = ("low", "medium", "high")
TURNS: dict[str, type[BaseMessage]] = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}


class Endpoint:
    """One model of a recipe, ready for requests. Made by `open_endpoints`.

    A model has one Endpoint for each engine behind its addresses; `rank` is the engine's number at its address.
    """

    def __init__(
        self,
        name: str,
        settings: ModelSettings,
        secrets: Secrets,
        *,
        url: str,
        rank: int | None = None,
        session: aiohttp.ClientSession,
    ) -> None:
        self.name, self.settings, self.keeps_metrics = name, settings, False
        self._told = ""
        self.where = f"models.{name} at {url}"
        self._servers: list[Endpoint] = [self]
        self._down_until = 0.0
        self._url, self._failures = url, Failures(name, settings.api_key_env, secrets, self.where)
        self._client = Client(settings, secrets, self._failures, session, url)
        engine = {} if rank is None else {RANK: str(rank)}
        self._chat = open_chat(settings.model, self._client, engine)

    def messages(self, request: Request) -> tuple[Message, ...]:
        """The messages as they are sent: with the schema in the prompt if the model's settings say so."""
        if request.output_schema is None or self.settings.structured == "json_schema":
            return request.messages
        return with_schema(request.messages, request.output_schema)

    def parameters(self, request: Request, role: RoleSettings, seed: int) -> dict[str, JsonValue]:
        """The rest of the request's body: everything except the messages."""
        model, vllm = self.settings, self.settings.api == "vllm"
        schema = request.output_schema
        thinking = {"on": True, "off": False, "auto": False if schema else None}.get(role.reasoning)
        sent: dict[str, JsonValue] = {
            "model": model.model,
            "temperature": max(
                model.temperature if role.temperature is None else role.temperature, request.least_temperature
            ),
            # OpenAI's reasoning models reject max_tokens; some servers (transformers serve) reject the newer name.
            "max_tokens" if vllm else "max_completion_tokens": role.max_tokens or model.max_tokens,
            "seed": seed,
        }
        if model.top_p is not None:
            sent["top_p"] = model.top_p
        if request.frequency_penalty:
            given = model.extra_body.get("frequency_penalty")
            own = float(given) if isinstance(given, int | float) else 0.0
            sent["frequency_penalty"] = max(own, request.frequency_penalty)
        if schema is not None and model.structured == "json_schema":
            sent["response_format"] = response_format(schema, with_lengths=vllm)
        if role.reasoning in EFFORTS:
            sent["reasoning_effort"] = role.reasoning
        if vllm and thinking is not None:
            given = model.extra_body.get("chat_template_kwargs")
            sent["chat_template_kwargs"] = {**(given if isinstance(given, dict) else {}), "enable_thinking": thinking}
        return {**model.extra_body, **sent}

    def beside(self, others: Sequence["Endpoint"]) -> Self:
        """Groups this endpoint with others that serve the same model."""
        servers: list[Endpoint] = [self, *others]
        for server in servers:
            server._servers = servers
        return self

    def at(self, sample: str) -> "Endpoint":
        """The engine that gets all calls of a sample, so that its prefix cache holds what the calls share.

        Servers that were unreachable within the last `DOWN` seconds are skipped.
        """
        first, now = derive_seed(sample) % len(self._servers), time.monotonic()
        inorder = [*self._servers[first:], *self._servers[:first]]
        return next((server for server in inorder if server._down_until <= now), inorder[0])

    async def complete(self, request: Request, role: RoleSettings, seed: int) -> Reply:
        """Sends the request, with all retries inside the model's timeout. Returns unusable replies as they are.

        If this server is unreachable, another server of the same model takes over.
        """
        try:
            return await self._complete(request, role, seed)
        except EndpointUnreachable:
            now = time.monotonic()
            for server in self._servers:
                if server._url == self._url:
                    server._down_until = now + DOWN
            left = [server for server in self._servers if server._down_until <= now]
            if not left:
                raise
            return await left[seed % len(left)].complete(request, role, seed)

    async def _complete(self, request: Request, role: RoleSettings, seed: int) -> Reply:
        messages = [TURNS[message.role](content=message.content) for message in self.messages(request)]
        parameters = self.parameters(request, role, seed)
        started = time.perf_counter()
        try:
            # Around all retries: `timeout` bounds the whole call.
            async with asyncio.timeout(self.settings.timeout):
                message = await self._chat.ainvoke(messages, extra_body=parameters)
        except TimeoutError as error:
            raise self._failures.timeout(self.settings.timeout) from error
        return _read_reply(message, time.perf_counter() - started, self.settings.reasoning_marks)

    async def check(self) -> None:
        """Raises EndpointError unless every server responds, accepts the key and serves the model.

        A server without GET models counts as serving it.
        """
        await asyncio.gather(*(server._check() for server in self._places()))
        named = {server._told for server in self._servers if server._told}
        if len(named) > 1:
            where = ", ".join(f"{server._told} at {server._url}" for server in self._places())
            raise EndpointRefused(
                f"the servers of {self.name} serve different models: {where}",
                where=f"models.{self.name}.base_url",
                todo="start the same model at every address",
            )

    @property
    def revision(self) -> str:
        """Distinguishes models of one name: the recipe's `revision`, else what the server said in `check`."""
        return self.settings.revision or self._told

    @property
    def servers(self) -> dict[str, str]:
        """Address → the model that the server names; empty if it names none or the recipe sets `revision`."""
        return {server._url: "" if self.settings.revision else server._told for server in self._places()}

    def _places(self) -> list["Endpoint"]:
        """One endpoint for each address, for requests to a server rather than to one of its engines."""
        return list({server._url: server for server in self._servers}.values())

    async def _check(self) -> None:
        cards, name = await self._cards(), self.settings.model
        served, told = list(cards or ()), _named_by((cards or {}).get(name, {}), name)
        for server in self._servers:
            server._told = told if server._url == self._url else server._told
        # `transformers serve` lists only models in the hub's cache, but answers for others by name.
        if not served or name in served or await self._get(f"models/{quote(name, safe='')}") is not None:
            return
        shown = ", ".join(served[:10]) + (f" and {len(served) - 10} more" if len(served) > 10 else "")
        raise EndpointRefused(
            f"the server does not serve model {name}",
            where=self.where,
            todo=f"set models.{self.name}.model to a model that it serves: {shown or 'none'}",
        )

    async def served(self) -> list[str] | None:
        """The models that the server lists; None if it has no list. Raises like `check`."""
        cards = await self._cards()
        return None if cards is None else list(cards)

    async def context(self) -> int | None:
        """Maximum tokens of prompt plus reply; None if the server does not report it. Raises like `check`."""
        cards = await self._cards() or {}
        # In vLLM an adapter's card has no max_model_len; its parent's, the base model's, has.
        card = cards.get(self.settings.model, {})
        lengths = [each.get("max_model_len") for each in (card, cards.get(str(card.get("parent")), {}))]
        meta = card.get("meta")  # llama.cpp's
        lengths.append(meta.get("n_ctx") if isinstance(meta, dict) else None)
        return next((length for length in lengths if isinstance(length, int)), None)

    async def _cards(self) -> dict[str, dict[str, Any]] | None:
        listing = await self._get("models")
        if listing is None:
            return None
        try:
            return {str(model["id"]): dict(model) for model in json.loads(listing)["data"]}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise EndpointRefused(
                "the server is not an OpenAI-compatible endpoint (GET models returned no list of models)",
                where=self.where,
                todo="check base_url; it normally ends in /v1",
            ) from error

    async def loads(self) -> dict[str, Load]:
        """Address → load, for each of the model's servers that reports it. Never raises: a run works without it."""
        told = await asyncio.gather(*(server._load() for server in self._places()))
        self.keeps_metrics = self.keeps_metrics or any(told)
        return {address: load for each in told for address, load in each.items()}

    async def _load(self) -> dict[str, Load]:
        address = self._url.removesuffix("/v1")
        try:
            page = await self._client.get(f"{address}/metrics", METRICS_TIMEOUT)
        except EndpointError:
            return {}
        load = read_load(page.decode(errors="replace")) if page else None
        return {address: load} if load else {}

    async def _get(self, path: str) -> bytes | None:
        """None if the server has no such page."""
        return await self._client.get(f"{self._url}/{path}", min(CHECK_TIMEOUT, self.settings.timeout))


@asynccontextmanager
async def open_endpoints(
    models: Mapping[str, ModelSettings], *, langsmith: bool = False
) -> AsyncIterator[dict[str, Endpoint]]:
    """Every model of a recipe over one HTTP session; `langsmith` traces the requests sent while it is open.

    Raises SettingsError for keys missing from the environment.
    """
    for name, model in models.items():
        if not model.addresses:
            raise SettingsError(f"model {name} has no address", where=f"models.{name}", todo="set base_url or serve")
    secrets = read_secrets(models)
    urls = [url for model in models.values() for url in model.addresses]
    async with open_session(urls) as session, langsmith_tracing(langsmith):
        opened = {}
        for name, model in models.items():
            ranks = range(model.data_parallel) if model.data_parallel > 1 else [None]
            first, *others = (
                Endpoint(name, model, secrets[name], url=url, rank=rank, session=session)
                for url in model.addresses
                for rank in ranks
            )
            opened[name] = first.beside(others)
        yield opened


def split_reasoning(text: str, marks: Sequence[str]) -> tuple[str, str]:
    """(reasoning, answer) of a text with inline marks. The opening mark may be missing; the closing may not."""
    opening, closing = marks
    head, closed, tail = text.partition(closing)
    if closed:
        return head.strip().removeprefix(opening).strip(), tail.lstrip()
    if text.lstrip().startswith(opening):
        return text.strip().removeprefix(opening).strip(), ""
    return "", text


def _read_reply(message: AIMessage, seconds: float, marks: Sequence[str]) -> Reply:
    text, extra, meta = str(message.content), message.additional_kwargs, message.response_metadata
    reasoning, finish_reason, usage = extra["reasoning"], meta["finish_reason"], message.usage_metadata
    if not reasoning:
        reasoning, text = split_reasoning(text, marks)
    if extra["refusal"] and not text:
        text, finish_reason = extra["refusal"], "content_filter"
    return Reply(
        text=text,
        reasoning=reasoning,
        finish_reason=finish_reason,
        model=meta["model_name"],
        simulated=meta.get("system_fingerprint") == SIMULATED,
        usage=Usage(
            tokens_in=usage["input_tokens"],
            tokens_out=usage["output_tokens"],
            tokens_cached=usage["input_token_details"]["cache_read"],
        )
        if usage
        else Usage(),
        seconds=seconds,
    )


def _named_by(card: Mapping[str, Any], name: str) -> str:
    """The model behind a served name, from `root` in vLLM's card.

    A path does not count: the same weights can be at another path on another machine, and other weights at this one.
    """
    root = card.get("root")
    return root if isinstance(root, str) and root != name and not root.startswith(("/", ".", "~")) else ""
