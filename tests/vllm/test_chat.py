"""endpoints/client/chat.py against a real vLLM: what the simulated endpoint claims about vLLM has to be so."""

import json
from collections.abc import AsyncIterator

import pytest

from muser.core.errors import EndpointRefused
from muser.core.recipe import ModelSettings, RoleSettings
from muser.core.types import Message, Request
from muser.endpoints.client.chat import Endpoint, open_endpoints

pytestmark = pytest.mark.vllm
ROLE = RoleSettings(model="tiny")
LONG = "I have had chest pain since yesterday. " * 40


def settings(base_url: str, **changes: object) -> ModelSettings:
    return ModelSettings.model_validate({"model": "tiny-base", "base_url": base_url, "max_tokens": 24, **changes})


@pytest.fixture
async def tiny(vllm: str) -> AsyncIterator[Endpoint]:
    async with open_endpoints({"tiny": settings(vllm)}) as endpoints:
        yield endpoints["tiny"]


def ask(text: str) -> Request:
    return Request(messages=(Message(role="user", content=text),))


async def test_a_served_model_passes_the_check(tiny: Endpoint) -> None:
    await tiny.check()


async def test_a_model_not_served_is_refused_with_what_is(vllm: str) -> None:
    async with open_endpoints({"m": settings(vllm, model="large")}) as endpoints:
        with pytest.raises(EndpointRefused, match="large") as refused:
            await endpoints["m"].check()
    assert "tiny" in str(refused.value)


async def test_a_reply_cut_at_max_tokens_says_so_and_keeps_its_usage(tiny: Endpoint) -> None:
    reply = await tiny.complete(ask("What should I do about my chest pain?"), ROLE, 1)
    assert reply.finish_reason == "length"
    assert reply.usage.tokens_out == 24
    assert reply.usage.tokens_in > 0


async def test_the_same_seed_gives_the_same_reply(tiny: Endpoint) -> None:
    first, second = [await tiny.complete(ask("Which dose?"), ROLE, 7) for _ in range(2)]
    assert (first.text, first.reasoning) == (second.text, second.reasoning)


async def test_a_shared_prefix_is_counted_as_cached(tiny: Endpoint) -> None:
    await tiny.complete(ask(LONG + "First?"), ROLE, 1)
    reply = await tiny.complete(ask(LONG + "Second?"), ROLE, 1)
    assert reply.usage.tokens_cached >= 128


async def test_a_schema_call_answers_in_its_schema_without_thinking(vllm: str) -> None:
    schema = {
        "type": "object",
        "properties": {
            "rationale": {"type": "string", "maxLength": 40},
            "verdict": {"type": "string", "enum": ["pass", "revise"]},
        },
        "required": ["rationale", "verdict"],
        "additionalProperties": False,
    }
    request = Request.model_validate(
        {"messages": [{"role": "user", "content": "Judge: rest and drink water."}], "output_schema": schema}
    )
    async with open_endpoints({"tiny": settings(vllm, max_tokens=400)}) as endpoints:
        reply = await endpoints["tiny"].complete(request, ROLE, 1)
    assert reply.finish_reason == "stop"
    assert reply.reasoning == ""
    # xgrammar lets a weak model write raw control characters into strings.
    assert json.loads(reply.text, strict=False)["verdict"] in {"pass", "revise"}
