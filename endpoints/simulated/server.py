"""The simulated endpoint: an OpenAI-compatible HTTP server whose models speak from a script, with latency and faults.

A reply is a pure function of (seed, request body); a fault of (seed, body, how often that body was seen). The names of
all its models start with `simulated`. It counts a quarter of the characters as tokens. Cached tokens are those that a
warm prefix cache with blocks of 128 would have: everything before the last message and, for critics and the refiner,
the prompt that they share.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TextIO

from aiohttp import web

from ...core.errors import ServerError
from ...core.hashing import derive_seed, digest
from ...core.types import SIMULATED
from .capacity import Capacity
from .faults import ON_THE_WIRE, Spoken, check_faults, draw_fault, spoil
from .knowledge import knowledge
from .replies import Manner, speak
from .roles import Asked, read_request

NAME = "simulated"
CONTEXT = 32768  # tokens
BLOCK = 128  # tokens
RETRY_AFTER_MS = 20
Part = Literal["metrics", "schema", "reasoning", "cached"]
"""Features that a simulated server can lack. Without `schema` it accepts response_format and ignores it, as some do."""


@dataclass
class Simulation:
    """One running endpoint: its settings, its requests in progress, and how often it has seen each body."""

    latency: float = 0.0
    faults: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    key: str | None = None
    manner: Manner = field(default_factory=Manner)
    lacks: frozenset[str] = frozenset()
    slots: Capacity = field(default_factory=lambda: Capacity(None))
    log: TextIO | None = None
    seen: Counter[str] = field(default_factory=Counter)

    def application(self) -> web.Application:
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_get("/health", self.health)
        if "metrics" not in self.lacks:
            app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/v1/models/{name}", self.model)
        app.router.add_post("/v1/chat/completions", self.complete)
        return app

    async def health(self, _: web.Request) -> web.Response:
        return web.Response()

    async def metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=self.slots.page(NAME))

    async def models(self, request: web.Request) -> web.Response:
        self._require_key(request)
        return web.json_response({"object": "list", "data": [_card(NAME)]})

    async def model(self, request: web.Request) -> web.Response:
        self._require_key(request)
        name = request.match_info["name"]
        _require_model(name)
        return web.json_response(_card(name))

    async def complete(self, request: web.Request) -> web.StreamResponse:
        self._require_key(request)
        body = await _read_body(request)
        model = str(body.get("model", NAME))
        _require_model(model)
        asked, body_digest = read_request(self._without_schema(body)), digest(body)
        self.seen[body_digest] += 1
        fault = draw_fault(self.faults, self.seed, body_digest, self.seen[body_digest], asked.schema is not None)
        self._write_log(
            {"body": body_digest, "role": asked.role, "model": model, "fault": fault, "seen": self.seen[body_digest]}
        )
        if fault in ON_THE_WIRE:
            return await _fail(request, str(fault))
        spoken = _cut(
            spoil(speak(asked, self.manner, body_digest), fault, asked.tail or asked.messages[-1][1]), _limit(body)
        )
        if "reasoning" in self.lacks:
            spoken = replace(spoken, reasoning="")
        completion = _completion(body_digest, model, asked, spoken)
        usage = completion["usage"]
        self.slots.count(usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"])
        if "cached" in self.lacks:
            del usage["prompt_tokens_details"]
        async with self.slots.taken():
            if self.latency:
                # A constant part, as for the prompt, and a part for each token, both up to 25 % more or less.
                factor = 0.75 + derive_seed(self.seed, body_digest, "latency") / 2**32
                await asyncio.sleep(self.latency * factor * (0.2 + completion["usage"]["completion_tokens"] / 100))
        return await _stream(request, body, completion) if body.get("stream") else _json(completion)

    def _without_schema(self, body: dict[str, Any]) -> dict[str, Any]:
        """The request as a server without structured output reads it."""
        ignored = ("response_format", "structured_outputs") if "schema" in self.lacks else ()
        return {key: value for key, value in body.items() if key not in ignored}

    def _require_key(self, request: web.Request) -> None:
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            raise _error(401, "Unauthorized: the key is missing or wrong")

    def _write_log(self, line: dict[str, Any]) -> None:
        if self.log:
            self.log.write(json.dumps(line) + "\n")
            self.log.flush()


@asynccontextmanager
async def simulated_endpoint(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    latency: float = 0.0,
    faults: Mapping[str, float] | None = None,
    seed: int = 0,
    log: Path | None = None,
    key: str | None = None,
    slots: int | None = None,
    passing: float = 0.0,
    long: bool = False,
    lacks: Collection[Part] = (),
) -> AsyncIterator[str]:
    """Serves until the block exits; yields the base_url.

    `latency`: seconds per 100 tokens; `slots`: requests at a time, the others wait; `log`: a file of JSON lines;
    `passing`: the share of incomplete answers that a critic passes; `long`: answers fill a page, in Markdown; `lacks`:
    features that the server does without.
    """
    knowledge()  # a broken file must fail here, not in the first reply
    manner = Manner(seed, passing, long)
    simulation = Simulation(latency, check_faults(faults or {}), seed, key, manner, frozenset(lacks), Capacity(slots))
    if log:
        log.parent.mkdir(parents=True, exist_ok=True)
        simulation.log = log.open("a", encoding="utf-8")
    # handler_cancellation: without it, requests whose client has disconnected would keep their slots.

    runner = web.AppRunner(simulation.application(), handler_cancellation=True, shutdown_timeout=0.2, access_log=None)
    try:
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port, backlog=1024).start()
        except OSError as error:
            raise ServerError(
                f"the simulated endpoint cannot listen at {host}:{port} ({error.strerror})",
                todo="choose another port, or 0 for a free one",
            ) from error
        address = runner.addresses[0]
        yield f"http://{f'[{address[0]}]' if ':' in address[0] else address[0]}:{address[1]}/v1"
    finally:
        await runner.cleanup()
        if simulation.log:
            simulation.log.close()


async def _read_body(request: web.Request) -> dict[str, Any]:
    try:
        body: Any = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise _error(400, f"the body is not JSON: {error}") from error
    messages = body.get("messages") if isinstance(body, dict) else None
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) and "role" in m for m in messages):
        raise _error(400, "messages must be a non-empty list of messages")
    limit = _limit(body)
    if limit is not None and not 0 < limit <= CONTEXT:
        raise _error(400, f"max_tokens={limit} does not fit this model's maximum context length of {CONTEXT} tokens")
    return {**body}


def _limit(body: dict[str, Any]) -> int | None:
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    return limit if isinstance(limit, int) else None


def _count(text: str | None) -> int:
    return -(-len(text or "") // 4)


def _cut(spoken: Spoken, limit: int | None) -> Spoken:
    """The reply, cut at max_tokens; reasoning counts first."""
    reasoning, text = spoken.reasoning, spoken.text or ""
    if limit is None or _count(reasoning) + _count(text) <= limit:
        return spoken
    left = 4 * limit - 4 * _count(reasoning)
    return Spoken(text[:left] if left > 0 else None, reasoning[: 4 * limit], "length")


def _completion(body_digest: str, model: str, asked: Asked, spoken: Spoken) -> dict[str, Any]:
    prompt = sum(_count(text) + 4 for _, text in asked.messages)
    shared = max(-(-asked.shared // 4), sum(_count(text) + 4 for _, text in asked.messages[:-1]))
    written = _count(spoken.reasoning) + _count(spoken.text) + 1
    message = {
        "role": "assistant",
        "content": spoken.text,
        "refusal": spoken.refusal,
        "reasoning": spoken.reasoning or None,
    }
    return {
        "id": f"chatcmpl-simulated-{body_digest[:16]}",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "system_fingerprint": SIMULATED,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": spoken.finish_reason}],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": written,
            "total_tokens": prompt + written,
            "prompt_tokens_details": {"cached_tokens": shared // BLOCK * BLOCK},
        },
    }


async def _fail(request: web.Request, fault: str) -> web.Response:
    if fault == "429":
        headers = {"Retry-After": "1", "retry-after-ms": str(RETRY_AFTER_MS)}
        return _json(_complaint(429, "simulated: too many requests"), 429, headers)
    if fault == "500":
        return _json(_complaint(500, "simulated: internal error"), 500)
    if fault == "hang":
        await asyncio.Event().wait()
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _stream(request: web.Request, body: dict[str, Any], completion: dict[str, Any]) -> web.StreamResponse:
    """The same completion as server-sent events."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    choice = completion["choices"][0]
    frame = {key: completion[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}

    async def send(delta: dict[str, Any], finish_reason: str | None = None) -> None:
        event = frame | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}
        await response.write(f"data: {json.dumps(event)}\n\n".encode())

    await send({"role": "assistant", "content": ""})
    for name in ("reasoning", "content", "refusal"):
        for word in re.findall(r"\s*\S+|\s+$", choice["message"][name] or ""):
            await send({name: word})
    await send({}, choice["finish_reason"])
    if (body.get("stream_options") or {}).get("include_usage"):
        await response.write(f"data: {json.dumps(frame | {'choices': [], 'usage': completion['usage']})}\n\n".encode())
    await response.write(b"data: [DONE]\n\n")
    return response


def _require_model(name: str) -> None:
    if not name.startswith(NAME):
        raise _error(404, f"The model `{name}` does not exist; the names of all models here start with {NAME}.")


def _card(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "muser", "max_model_len": CONTEXT}


def _complaint(status: int, message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "simulated", "param": None, "code": status}}


def _error(status: int, message: str) -> web.HTTPException:
    kinds = {400: web.HTTPBadRequest, 401: web.HTTPUnauthorized, 404: web.HTTPNotFound}
    return kinds[status](text=json.dumps(_complaint(status, message)), content_type="application/json")


def _json(value: dict[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(text=json.dumps(value), status=status, headers=headers, content_type="application/json")
