"""endpoints/client/chat.py against the simulated endpoint and a server that misbehaves, over real HTTP."""

import asyncio
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from muser.core.errors import (
    EndpointError,
    EndpointOverloaded,
    EndpointRefused,
    EndpointTimeout,
    EndpointUnreachable,
    SettingsError,
)
from muser.core.hashing import digest
from muser.core.recipe import ModelSettings, RoleSettings
from muser.core.types import Message, Request, Usage
from muser.endpoints.client.chat import Endpoint, open_endpoints, split_reasoning

from ..conftest import Handler, Serve, ask, completion, settings

VERDICT = {
    "type": "object",
    "properties": {"rationale": {"type": "string", "maxLength": 90}, "verdict": {"enum": ["pass", "revise"]}},
    "required": ["rationale", "verdict"],
}
Simulate = Callable[..., str]


def dead_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/v1"


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


async def parameters(
    role: RoleSettings, *, schema: Any = None, repair: dict[str, float] | None = None, **changes: Any
) -> dict[str, Any]:
    request = Request(messages=(Message(role="user", content="hello"),), output_schema=schema, **(repair or {}))
    async with open_endpoints({"m": settings("http://127.0.0.1:9/v1", **changes)}) as endpoints:
        return endpoints["m"].parameters(request, role, 7)


async def test_a_reply_keeps_text_reasoning_usage_and_time(simulated: str) -> None:
    reply = await ask(settings(simulated))
    assert "chest pain" in reply.text
    assert reply.reasoning.endswith("Now, answer.")
    assert (reply.finish_reason, reply.model) == ("stop", "simulated")
    assert reply.usage.tokens_in > 0
    assert reply.usage.tokens_out > 0
    assert reply.seconds > 0


async def test_messages_and_parameters_are_the_whole_body(simulate: Simulate, tmp_path: Path) -> None:
    base_url = simulate(log=tmp_path / "log.jsonl")
    request = Request(messages=(Message(role="system", content="Be brief."), Message(role="user", content="hello")))
    async with open_endpoints({"m": settings(base_url, top_p=0.9, extra_body={"top_k": 5})}) as endpoints:
        sent = endpoints["m"].parameters(request, RoleSettings(model="m"), 3)
        await endpoints["m"].complete(request, RoleSettings(model="m"), 3)
    body = {"messages": [message.model_dump() for message in request.messages], **sent}
    assert lines(tmp_path / "log.jsonl")[0]["body"] == digest(body)


@pytest.mark.parametrize("api", ["vllm", "openai"])
async def test_a_repair_raises_the_temperature_and_the_penalty_but_lowers_neither(api: str) -> None:
    repair = {"least_temperature": 0.5, "frequency_penalty": 0.3}
    greedy = await parameters(RoleSettings(model="m", temperature=0), repair=repair, api=api)
    assert (greedy["temperature"], greedy["frequency_penalty"]) == (0.5, 0.3)
    lively = {"temperature": 0.9, "extra_body": {"frequency_penalty": 1.1}}
    sent = await parameters(RoleSettings(model="m"), repair=repair, api=api, **lively)
    assert (sent["temperature"], sent["frequency_penalty"]) == (0.9, 1.1)


async def test_parameters_for_vllm_turn_thinking_off_where_a_schema_is_asked_for() -> None:
    sent = await parameters(RoleSettings(model="m"), schema=VERDICT, extra_body={"top_k": 5})
    assert sent == {
        "model": "simulated",
        "temperature": 0.7,
        "max_tokens": 2048,
        "seed": 7,
        "top_k": 5,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "reply", "strict": True, "schema": VERDICT},
        },
        "chat_template_kwargs": {"enable_thinking": False},
    }


async def test_parameters_for_openai_are_standard_fields_only() -> None:
    sent = await parameters(RoleSettings(model="m", reasoning="on"), schema=VERDICT, api="openai", top_p=0.5)
    shape = sent.pop("response_format")["json_schema"]["schema"]
    assert sent == {"model": "simulated", "temperature": 0.7, "top_p": 0.5, "max_completion_tokens": 2048, "seed": 7}
    assert shape["properties"]["rationale"] == {"type": "string"}
    assert VERDICT["properties"]["rationale"]["maxLength"] == 90  # type: ignore[index]


@pytest.mark.parametrize(
    ("reasoning", "expected"), [("auto", None), ("on", {"enable_thinking": True}), ("off", {"enable_thinking": False})]
)
async def test_reasoning_is_asked_for_as_the_role_says(reasoning: Any, expected: Any) -> None:
    sent = await parameters(RoleSettings(model="m", reasoning=reasoning))
    assert sent.get("chat_template_kwargs") == expected


async def test_a_role_overrides_its_model_and_keeps_its_template_arguments() -> None:
    role = RoleSettings(model="m", temperature=0, max_tokens=9, reasoning="off")
    sent = await parameters(role, extra_body={"chat_template_kwargs": {"language": "en"}, "min_p": 0.1})
    assert (sent["temperature"], sent["max_tokens"], sent["min_p"]) == (0, 9, 0.1)
    assert sent["chat_template_kwargs"] == {"language": "en", "enable_thinking": False}


async def test_a_truncated_reply_is_a_reply_also_where_a_schema_is_asked_for(simulated: str) -> None:
    reply = await ask(settings(simulated, max_tokens=5), schema=VERDICT)
    assert reply.finish_reason == "length"
    assert 0 < len(reply.text) <= 20


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("plain", "", "plain"),
        ("<think>why</think>answer", "why", "answer"),
        (" <think>\nwhy\n</think>\n\nanswer\n", "why", "answer\n"),
        ("why</think> answer", "why", "answer"),
        ("<think>\n\n</think>\n\nanswer", "", "answer"),
        ("<think>why, without end", "why, without end", ""),
        ("<think>why</think>", "why", ""),
        ("so <think> is a tag", "", "so <think> is a tag"),
        ("", "", ""),
    ],
)
def test_inline_thinking_is_split_off(text: str, reasoning: str, answer: str) -> None:
    assert split_reasoning(text, ("<think>", "</think>")) == (reasoning, answer)
    other = text.replace("<think>", "[unused16]").replace("</think>", "[unused17]")
    assert split_reasoning(other, ("[unused16]", "[unused17]")) == (
        reasoning,
        answer.replace("<think>", "[unused16]"),
    )


async def test_a_model_has_marks_of_its_own_for_inline_reasoning(serve: Serve) -> None:
    async def answer(_: web.Request) -> web.Response:
        said = completion(content="[unused16]why[unused17]<think> is a tag")
        return web.Response(text=json.dumps(said), content_type="application/json")

    reply = await ask(settings(await serve(answer), reasoning_marks=["[unused16]", "[unused17]"]))
    assert (reply.reasoning, reply.text) == ("why", "<think> is a tag")


@pytest.mark.parametrize("host", ["127.0.0.1", "other.test"])
async def test_each_sample_keeps_to_one_engine_of_a_data_parallel_server(
    host: str, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str | None]] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append((request.path, request.headers.get("X-data-parallel-rank")))
        page = {"data": [{"id": "simulated"}]} if request.path.endswith("models") else completion(content="a")
        return web.Response(text=json.dumps(page), content_type="application/json")

    base_url = await serve(answer)
    if host != "127.0.0.1":
        # Through a proxy.
        monkeypatch.setenv("HTTP_PROXY", base_url.removesuffix("/v1"))
        base_url = base_url.replace("127.0.0.1", host)
    request = Request(messages=(Message(role="user", content="hello"),))
    async with open_endpoints({"m": settings(base_url, data_parallel=4)}) as endpoints:
        await endpoints["m"].check()
        for number in range(24):
            for role in ("critics.safety", "refiner"):
                await endpoints["m"].at(f"q{number}").complete(request, RoleSettings(model=role), number)
    assert asked[0] == ("/v1/models", None)
    assert len(asked) == 1 + 48, "a server with four engines is checked once"
    ranks = [rank for _, rank in asked[1:]]
    assert ranks[::2] == ranks[1::2], "both calls of a sample went to the same engine"
    assert set(ranks) == {"0", "1", "2", "3"}


async def test_one_engine_is_asked_without_a_rank(serve: Serve) -> None:
    asked: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.headers.get("X-data-parallel-rank"))
        return web.Response(text=json.dumps(completion(content="a")), content_type="application/json")

    await ask(settings(await serve(answer)))
    assert asked == [None]


@pytest.mark.parametrize("api", ["vllm", "openai"])
async def test_how_much_a_role_reasons_is_sent_as_reasoning_effort(api: str) -> None:
    for effort in ("low", "medium", "high"):
        sent = await parameters(RoleSettings.model_validate({"model": "m", "reasoning": effort}), api=api)
        assert sent["reasoning_effort"] == effort
        assert "chat_template_kwargs" not in sent, "vLLM turns thinking on where an effort is asked for"
    for other in ("on", "off", "auto"):
        sent = await parameters(RoleSettings.model_validate({"model": "m", "reasoning": other}), api=api)
        assert "reasoning_effort" not in sent


@pytest.mark.parametrize(
    ("message", "text", "reasoning", "finish_reason"),
    [
        ({"content": "a", "reasoning": "r"}, "a", "r", "stop"),
        ({"content": "a", "reasoning_content": "r"}, "a", "r", "stop"),
        ({"content": "a </think> b", "reasoning": "r"}, "a </think> b", "r", "stop"),
        ({"content": "<think>r</think>a"}, "a", "r", "stop"),
        ({"content": [{"type": "text", "text": "a"}]}, "a", "", "stop"),
        ({"content": None}, "", "", "stop"),
        ({"content": None, "refusal": "no"}, "no", "", "content_filter"),
        ({"content": "bad \ud83d end", "reasoning": "\udc00"}, "bad \ufffd end", "\ufffd", "stop"),
        ({"content": "good \ud83d\ude00 end"}, "good 😀 end", "", "stop"),
    ],
)
async def test_what_servers_say_becomes_one_reply(
    serve: Serve, message: dict[str, Any], text: str, reasoning: str, finish_reason: str
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=json.dumps(completion(**message)), content_type="application/json")

    reply = await ask(settings(await serve(answer)))
    assert (reply.text, reply.reasoning, reply.finish_reason) == (text, reasoning, finish_reason)
    assert reply.usage == Usage()


async def test_cached_tokens_are_counted(simulated: str) -> None:
    request = Request(messages=(Message(role="system", content="word " * 400), Message(role="user", content="hello")))
    async with open_endpoints({"m": settings(simulated)}) as endpoints:
        reply = await endpoints["m"].complete(request, RoleSettings(model="m"), 1)
    assert 0 < reply.usage.tokens_cached < reply.usage.tokens_in
    assert reply.usage.tokens_cached % 128 == 0


@pytest.mark.parametrize(
    "answer",
    [
        {"text": "<html>hello</html>", "content_type": "text/html"},
        {"text": "{not json", "content_type": "application/json"},
        {"text": "{}", "content_type": "application/json"},
        {"text": '{"choices": null}', "content_type": "application/json"},
        {"text": '{"choices": []}', "content_type": "application/json"},
        {"text": '{"choices": [{"index": 0}]}', "content_type": "application/json"},
        {"text": '{"error": {"message": "the model is asleep"}}', "content_type": "application/json"},
        {"text": "[1]", "content_type": "application/json"},
    ],
)
async def test_an_answer_that_is_no_chat_completion_is_refused(serve: Serve, answer: dict[str, str]) -> None:
    async def respond(_: web.Request) -> web.Response:
        return web.Response(**answer)  # type: ignore[arg-type]

    with pytest.raises(EndpointRefused, match="not a chat completion"):
        await ask(settings(await serve(respond)))


async def test_overload_is_tried_again_until_it_passes(simulate: Simulate, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    base_url = simulate(log=log, faults={"429": 0.5})
    await asyncio.gather(*(ask(settings(base_url, retries=9), seed=seed) for seed in range(12)))
    assert {line["fault"] for line in lines(log)} == {"429", None}
    assert sum(line["fault"] is None for line in lines(log)) == 12


@pytest.mark.parametrize(
    ("fault", "error"), [("429", EndpointOverloaded), ("500", EndpointOverloaded), ("dropped", EndpointOverloaded)]
)
async def test_after_every_retry_the_failure_is_named(
    simulate: Simulate, tmp_path: Path, fault: str, error: type[EndpointError]
) -> None:
    base_url = simulate(log=tmp_path / "log.jsonl", faults={fault: 1.0})
    with pytest.raises(error) as raised:
        await ask(settings(base_url, retries=1))
    assert [line["seen"] for line in lines(tmp_path / "log.jsonl")] == [1, 2]
    assert raised.value.where == f"models.m at {base_url}"
    assert raised.value.todo


async def test_a_timeout_ends_the_call_and_is_not_tried_again(simulate: Simulate, tmp_path: Path) -> None:
    base_url = simulate(log=tmp_path / "log.jsonl", faults={"hang": 1.0})
    with pytest.raises(EndpointTimeout, match=r"within 0\.2 s"):
        await ask(settings(base_url, retries=5, timeout=0.2))
    assert len(lines(tmp_path / "log.jsonl")) == 1


async def test_a_dead_port_is_unreachable() -> None:
    url = dead_url()
    with pytest.raises(EndpointUnreachable, match="start the server"):
        await ask(settings(url))
    async with open_endpoints({"m": settings(url)}) as endpoints:
        with pytest.raises(EndpointUnreachable, match="cannot reach"):
            await endpoints["m"].check()


async def test_a_model_not_served_is_refused_naming_what_is(simulated: str) -> None:
    with pytest.raises(EndpointRefused, match="404"):
        await ask(settings(simulated, model="qwen"))
    async with open_endpoints({"m": settings(simulated, model="qwen")}) as endpoints:
        with pytest.raises(EndpointRefused, match="the server does not serve model qwen") as refused:
            await endpoints["m"].check()
    assert "a model that it serves: simulated" in refused.value.todo


async def test_a_request_that_the_server_rejects_is_refused_with_its_words(simulated: str) -> None:
    with pytest.raises(EndpointRefused, match="maximum context length"):
        await ask(settings(simulated, max_tokens=10**6))


async def test_the_check_passes_for_every_name_the_server_knows(simulated: str) -> None:
    models = {"a": settings(simulated), "b": settings(simulated, model="simulated-teacher")}
    async with open_endpoints(models) as endpoints:
        await asyncio.gather(*(endpoint.check() for endpoint in endpoints.values()))


async def test_the_key_comes_from_the_environment_and_is_never_shown(
    simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    base_url = simulate(key="right-key")
    monkeypatch.setenv("MUSER_TEST_KEY", "right-key")
    await ask(settings(base_url, api_key_env="MUSER_TEST_KEY"))
    monkeypatch.setenv("MUSER_TEST_KEY", "wrong-key")
    model = settings(base_url, api_key_env="MUSER_TEST_KEY")
    with pytest.raises(EndpointRefused, match="401") as refused:
        await ask(model)
    assert "$MUSER_TEST_KEY" in refused.value.todo
    assert "wrong-key" not in str(refused.value)
    async with open_endpoints({"m": model}) as endpoints:
        with pytest.raises(EndpointRefused, match="401"):
            await endpoints["m"].check()


async def test_a_key_that_the_server_echoes_is_hidden(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async def echo(request: web.Request) -> web.Response:
        return web.json_response({"error": {"message": request.headers["Authorization"]}}, status=401)

    monkeypatch.setenv("MUSER_TEST_KEY", "wrong-key")
    model = settings(await serve(echo), api_key_env="MUSER_TEST_KEY")
    with pytest.raises(EndpointRefused) as refused:
        await ask(model)
    assert "wrong-key" not in str(refused.value)
    async with open_endpoints({"m": model}) as endpoints:
        with pytest.raises(EndpointRefused) as refused:
            await endpoints["m"].check()
    assert "wrong-key" not in str(refused.value)


async def test_every_missing_key_is_named_at_once() -> None:
    models = {name: settings("http://127.0.0.1:9/v1", api_key_env=f"MUSER_NO_{name}") for name in ("A", "B")}
    with pytest.raises(SettingsError, match=r"MUSER_NO_A \(models\.A\), MUSER_NO_B \(models\.B\)"):
        async with open_endpoints(models):
            pass


async def test_a_model_without_an_address_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match="no address"):
        async with open_endpoints({"m": ModelSettings(model="x")}):
            pass


async def test_a_key_of_another_service_is_not_sent(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    async def listen(request: web.Request) -> web.Response:
        seen.append(str(request.headers))
        return web.json_response(completion(content="a"))

    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "LANGSMITH_GATEWAY_API_KEY"):
        monkeypatch.setenv(name, "private")
    await ask(settings(await serve(listen)))
    assert len(seen) == 1
    assert "private" not in seen[0]


async def test_loopback_never_goes_through_a_proxy(simulated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, dead_url().removesuffix("/v1"))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    await ask(settings(simulated))
    await ask(settings(simulated.replace("127.0.0.1", "localhost")))


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_a_server_without_a_list_of_models_passes_the_check(serve: Serve, status: int) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    async with open_endpoints({"m": settings(await serve(answer))}) as endpoints:
        await endpoints["m"].check()


@pytest.mark.parametrize(
    ("status", "text", "error"),
    [(200, "<html></html>", EndpointRefused), (200, '{"data": 3}', EndpointRefused), (503, "", EndpointOverloaded)],
)
async def test_the_check_says_what_is_wrong_with_the_server(
    serve: Serve, status: int, text: str, error: type[EndpointError]
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    async with open_endpoints({"m": settings(await serve(answer))}) as endpoints:
        with pytest.raises(error):
            await endpoints["m"].check()


async def test_a_slow_check_times_out(serve: Serve) -> None:
    async def wait(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async with open_endpoints({"m": settings(await serve(wait), timeout=0.2)}) as endpoints:
        with pytest.raises(EndpointTimeout):
            await endpoints["m"].check()


async def test_hundreds_of_requests_share_one_client(simulate: Simulate) -> None:
    base_url = simulate(latency=0.05)
    request = Request(messages=(Message(role="user", content="I have asthma."),))
    async with open_endpoints({"m": settings(base_url), "n": settings(base_url)}) as endpoints:

        def call(endpoint: Endpoint, seed: int) -> Any:
            return endpoint.complete(request, RoleSettings(model="m"), seed)

        replies = await asyncio.gather(*(call(endpoints["mn"[seed % 2]], seed) for seed in range(300)))
    assert all("asthma" in reply.text for reply in replies)


def card(served: str, root: str | None) -> Handler:
    """A server's list of models, as vLLM writes it."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": served, "object": "model", "root": root}]})

    return answer


@pytest.mark.parametrize(
    ("root", "told"),
    [
        ("Qwen/Qwen3-14B", "Qwen/Qwen3-14B"),
        ("simulated", ""),
        ("/data/weights", ""),
        ("./weights", ""),
        (None, ""),
    ],
)
async def test_a_servers_card_tells_the_model_behind_the_name_it_serves(
    serve: Serve, root: str | None, told: str
) -> None:
    url = await serve(card("simulated", root))
    for model, revision in ((settings(url), told), (settings(url, revision="mine"), "mine")):
        async with open_endpoints({"m": model}) as endpoints:
            await endpoints["m"].check()
            assert endpoints["m"].revision == revision
            assert endpoints["m"].servers == {url: "" if revision == "mine" else told}


async def test_servers_of_one_model_that_serve_different_ones_are_refused(serve: Serve) -> None:
    urls = [await serve(card("simulated", root)) for root in ("Qwen/Qwen3-14B", "Qwen/Qwen3-8B")]
    async with open_endpoints({"m": settings(urls)}) as endpoints:  # type: ignore[arg-type]
        with pytest.raises(EndpointRefused, match=r"different models: Qwen/Qwen3-14B at .*, Qwen/Qwen3-8B at"):
            await endpoints["m"].check()
