"""endpoints/simulated/server.py as any HTTP client meets it."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from muser.core.errors import ServerError, SettingsError
from muser.core.hashing import digest
from muser.endpoints.simulated.faults import FAULTS, ON_THE_WIRE
from muser.endpoints.simulated.server import simulated_endpoint

Simulate = Callable[..., str]
VERDICT = {"properties": {"rationale": {"type": "string"}, "verdict": {"enum": ["pass", "revise"]}}}


def body(text: str = "I have chest pain.", **changes: Any) -> dict[str, Any]:
    return {"model": "simulated", "messages": [{"role": "user", "content": text}], **changes}


def critic_body(**changes: Any) -> dict[str, Any]:
    text = "<query>\nI have asthma.\n</query>\n\n<answer>\nRest.\n</answer>\n\none facet, **safety**."
    schema = {"type": "json_schema", "json_schema": {"name": "reply", "schema": VERDICT}}
    return body(text, response_format=schema, chat_template_kwargs={"enable_thinking": False}, **changes)


def post(base_url: str, value: Any, **options: Any) -> httpx2.Response:
    return httpx2.post(f"{base_url}/chat/completions", json=value, verify=False, timeout=10, **options)


def get(url: str) -> httpx2.Response:
    return httpx2.get(url, verify=False)


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_the_same_seed_and_body_give_the_same_bytes(simulate: Simulate) -> None:
    first, again, other = simulate(seed=4), simulate(seed=4), simulate(seed=5)
    bodies = [body(f"I have {what}.", seed=seed) for what in ("asthma", "a burn") for seed in range(4)]
    for one in bodies:
        assert post(first, one).content == post(again, one).content == post(first, one).content
    assert any(post(first, one).content != post(other, one).content for one in bodies)


def test_a_reply_has_the_form_of_vllm(simulated: str) -> None:
    reply = post(simulated, body(model="simulated-teacher")).json()
    choice = reply["choices"][0]
    assert reply["model"] == "simulated-teacher"
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["reasoning"]
    assert choice["finish_reason"] == "stop"
    usage = reply["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens_details"] == {"cached_tokens": 0}


def test_it_is_healthy_and_lists_its_model(simulated: str) -> None:
    assert get(simulated.replace("/v1", "/health")).status_code == 200
    assert [model["id"] for model in get(f"{simulated}/models").json()["data"]] == ["simulated"]
    assert get(f"{simulated}/models/simulated-judge").json()["id"] == "simulated-judge"
    assert get(f"{simulated}/models/other").status_code == 404


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"content": b"{"}, 400),
        ({"content": b"[1]"}, 400),
        ({"json": {"model": "simulated"}}, 400),
        ({"json": {"model": "simulated", "messages": []}}, 400),
        ({"json": {"model": "simulated", "messages": [1]}}, 400),
        ({"json": body(max_tokens=0)}, 400),
        ({"json": body(max_tokens=10**9)}, 400),
        ({"json": body(model="gpt")}, 404),
    ],
)
def test_a_wrong_request_is_rejected_with_a_message(simulated: str, sent: dict[str, Any], status: int) -> None:
    answer = httpx2.post(f"{simulated}/chat/completions", verify=False, **sent)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_a_key_is_asked_for_when_one_is_set(simulate: Simulate) -> None:
    base_url = simulate(key="k")
    assert post(base_url, body()).status_code == 401
    assert post(base_url, body(), headers={"Authorization": "Bearer k"}).status_code == 200


def test_max_tokens_cut_the_reasoning_first(simulated: str) -> None:
    inside = post(simulated, body(max_tokens=5)).json()["choices"][0]
    assert inside["finish_reason"] == "length"
    assert inside["message"]["content"] is None
    behind = post(simulated, body(max_completion_tokens=50)).json()["choices"][0]
    assert behind["finish_reason"] == "length"
    assert behind["message"]["content"]


def test_thinking_can_be_turned_off(simulated: str) -> None:
    quiet = post(simulated, body(chat_template_kwargs={"enable_thinking": False})).json()["choices"][0]["message"]
    assert quiet["reasoning"] is None
    assert quiet["content"]


def test_cached_tokens_are_those_of_the_shared_prompt_in_whole_blocks(simulated: str) -> None:
    long = critic_body()
    long["messages"].insert(0, {"role": "system", "content": "word " * 300})
    usage = post(simulated, long).json()["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == 384
    assert usage["prompt_tokens"] > 384


def test_a_stream_says_the_same_as_one_reply(simulated: str) -> None:
    whole = post(simulated, body()).json()
    stream = post(simulated, body(stream=True, stream_options={"include_usage": True})).text
    events = [line.removeprefix("data: ") for line in stream.splitlines() if line]
    assert events.pop() == "[DONE]"
    chunks = [json.loads(event) for event in events]
    assert chunks.pop()["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    message = whole["choices"][0]["message"]
    assert "".join(delta.get("reasoning", "") for delta in deltas) == message["reasoning"]
    assert "".join(delta.get("content", "") for delta in deltas) == message["content"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


async def test_latency_grows_with_the_reply() -> None:
    async with simulated_endpoint(latency=0.2) as base_url, httpx2.AsyncClient() as client:
        started = asyncio.get_running_loop().time()
        await client.post(f"{base_url}/chat/completions", json=body())
        assert asyncio.get_running_loop().time() - started > 0.08


def test_the_log_has_a_line_for_every_request(simulate: Simulate, tmp_path: Path) -> None:
    log = tmp_path / "new folder" / "log.jsonl"
    base_url = simulate(log=log)
    for one in (body(), critic_body(), body()):
        post(base_url, one)
    post(base_url, body(model="other"))
    first, second, third = lines(log)
    assert first == {"body": digest(body()), "role": "responder", "model": "simulated", "fault": None, "seen": 1}
    assert (second["role"], third["seen"]) == ("critic", 2)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in ON_THE_WIRE])
def test_every_fault_of_a_reply_strikes_as_named(simulate: Simulate, fault: str) -> None:
    choice = post(simulate(faults={fault: 1}), critic_body(max_tokens=9000)).json()["choices"][0]
    message, text = choice["message"], choice["message"]["content"]
    assert choice["finish_reason"] == (
        "length" if fault in ("truncated", "loop", "whitespace", "unclosed_reasoning") else "stop"
    )
    match fault:
        case "empty":
            assert text == ""
        case "refusal":
            assert message["refusal"]
        case "unclosed_reasoning":
            assert text is None
            assert message["reasoning"]
        case "whitespace":
            assert text.endswith("\n" * 300)
        case "echo" | "placeholder" | "too_short":
            said = {"echo": "one facet, **safety**.", "placeholder": "…", "too_short": "We."}
            assert json.loads(text)["rationale"] == said[fault]
        case "wrong_schema":
            assert json.loads(text)["verdict"] not in ("pass", "revise")
        case _:
            with pytest.raises(ValueError, match=r"."):
                json.loads(text)


def test_faults_on_the_wire_are_met_by_the_client(simulate: Simulate) -> None:
    busy = post(simulate(faults={"429": 1}), body())
    assert busy.status_code == 429
    assert busy.headers["Retry-After"]
    assert post(simulate(faults={"500": 1}), body()).status_code == 500
    with pytest.raises(httpx2.RemoteProtocolError):
        post(simulate(faults={"dropped": 1}), body())
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.post(f"{simulate(faults={'hang': 1})}/chat/completions", json=body(), timeout=0.1, verify=False)


def test_faults_of_json_leave_plain_replies_alone(simulate: Simulate) -> None:
    reply = post(simulate(faults={"malformed": 0.5, "whitespace": 0.5}), body()).json()
    assert "chest pain" in reply["choices"][0]["message"]["content"]


def test_a_fault_is_a_function_of_seed_body_and_how_often_it_was_seen(simulate: Simulate, tmp_path: Path) -> None:
    logs = [tmp_path / f"{number}.jsonl" for number in range(2)]
    for log in logs:
        base_url = simulate(seed=3, log=log, faults={"429": 0.3, "truncated": 0.3})
        for number in range(40):
            post(base_url, body(seed=number // 2))
    first, second = ([line["fault"] for line in lines(log)] for log in logs)
    assert first == second
    assert set(first) == {"429", "truncated", None}
    # A repeated request has a fault draw of its own.
    assert any(one != other for one, other in zip(first[::2], first[1::2], strict=True))


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"truncate": 1}, "did you mean truncated"),
        ({"429": 2}, "between 0 and 1"),
        ({"429": 0.6, "500": 0.6}, "add up"),
    ],
)
async def test_impossible_faults_are_refused(faults: dict[str, float], message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        async with simulated_endpoint(faults=faults):
            pass
    assert message in str(refused.value)


async def test_a_taken_port_is_one_clear_error() -> None:
    async with simulated_endpoint() as base_url:
        port = int(base_url.split(":")[2].removesuffix("/v1"))
        with pytest.raises(ServerError, match="cannot listen"):
            async with simulated_endpoint(port=port):
                pass


async def test_hundreds_of_requests_at_once_are_served() -> None:
    async with simulated_endpoint(latency=0.1) as base_url, httpx2.AsyncClient(timeout=30) as client:
        url = f"{base_url}/chat/completions"
        answers = await asyncio.gather(*(client.post(url, json=body(seed=seed)) for seed in range(300)))
    assert {answer.status_code for answer in answers} == {200}


async def test_stopping_does_not_wait_for_requests_that_hang() -> None:
    async with httpx2.AsyncClient() as client:
        async with simulated_endpoint(faults={"hang": 1}) as base_url:
            call = asyncio.create_task(client.post(f"{base_url}/chat/completions", json=body()))
            await asyncio.sleep(0.05)
        with pytest.raises(httpx2.TransportError):
            await call
