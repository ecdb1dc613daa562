"""A real llama.cpp, named because vLLM may be installed too: schema, key, cached tokens, context, no orphan process."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio

from muser.core.errors import ServerError
from muser.core.recipe import ModelSettings, RoleSettings, ServeSettings
from muser.core.types import Message, Request
from muser.endpoints.client.chat import open_endpoints
from muser.endpoints.server.commands import Weights
from muser.endpoints.server.launch import Server, serve_model

from ..endpoints.server.test_launch import descendants
from ..endpoints.server.test_watchdog import is_gone, wait_for

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

KEY = "sesame"
CONTEXT = 512
SCHEMA = {
    "type": "object",
    "properties": {"verdict": {"enum": ["keep", "revise"]}, "rationale": {"type": "string", "maxLength": 80}},
    "required": ["verdict", "rationale"],
    "additionalProperties": False,
}
# A muser that serves the model until it is killed.
MUSER = """
import asyncio, sys
from pathlib import Path
from muser.core.recipe import ServeSettings
from muser.endpoints.server.commands import Weights
from muser.endpoints.server.launch import serve_model

async def main():
    folder, log = sys.argv[1:]
    settings = ServeSettings(engine="llamacpp")
    async with serve_model(Weights("small", folder), settings, log=Path(log), key="sesame") as server:
        print(server.url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    log = tmp_path_factory.mktemp("llamacpp") / "server.log"
    settings = ServeSettings(engine="llamacpp", max_model_len=CONTEXT)
    async with serve_model(Weights("small", str(smollm2)), settings, log=log, key=KEY) as started:
        yield started


@pytest.fixture
def model(server: Server, monkeypatch: pytest.MonkeyPatch) -> ModelSettings:
    monkeypatch.setenv("SMALL_KEY", KEY)
    return ModelSettings(
        model="small", base_url=server.url, api_key_env="SMALL_KEY", max_tokens=100, timeout=240, retries=0
    )


async def test_replies_keep_to_the_schema(model: ModelSettings) -> None:
    request = Request(messages=(Message(role="user", content="Say nothing but BANANA."),), output_schema=SCHEMA)
    async with open_endpoints({"m": model}) as endpoints:
        reply = await endpoints["m"].complete(request, RoleSettings(model="m"), 1)
    assert json.loads(reply.text)["verdict"] in ("keep", "revise")


async def test_a_repeated_prompt_is_told_as_cached_by_the_reply_and_the_metrics(model: ModelSettings) -> None:
    content = "A patient has had a headache for three days. " * 20
    request = Request(messages=(Message(role="user", content=content),))
    async with open_endpoints({"m": model}) as endpoints:
        before = next(iter((await endpoints["m"].loads()).values()))
        await endpoints["m"].complete(request, RoleSettings(model="m"), 1)
        again = await endpoints["m"].complete(request, RoleSettings(model="m"), 1)
        after = next(iter((await endpoints["m"].loads()).values()))
    assert again.usage.tokens_cached > again.usage.tokens_in / 2
    assert after.prefix_hits - before.prefix_hits >= again.usage.tokens_cached
    assert after.prefix_queries - before.prefix_queries >= 2 * again.usage.tokens_in - 1


async def test_the_context_is_that_of_the_settings_for_each_request(model: ModelSettings) -> None:
    async with open_endpoints({"m": model}) as endpoints:
        assert await endpoints["m"].context() == CONTEXT


async def test_four_requests_at_once_may_each_fill_the_context(model: ModelSettings) -> None:
    async def ask(number: int) -> int:
        content = f"This is story {number} of a patient. " * 45
        request = Request(messages=(Message(role="user", content=content),))
        return (await endpoints["m"].complete(request, RoleSettings(model="m", max_tokens=8), number)).usage.tokens_in

    async with open_endpoints({"m": model}) as endpoints:
        prompts = await asyncio.gather(*(ask(number) for number in range(1, 5)))
    assert all(CONTEXT * 3 / 4 < tokens < CONTEXT for tokens in prompts)


async def test_every_page_but_health_needs_the_key_which_no_argument_shows(server: Server) -> None:
    root = server.url.removesuffix("/v1")
    async with httpx2.AsyncClient(trust_env=False) as web:
        assert (await web.get(f"{root}/health")).status_code == 200
        for page in ("/v1/models", "/metrics", "/props", "/slots"):
            assert (await web.get(root + page)).status_code == 401, page
            wrong = await web.get(root + page, headers={"authorization": "Bearer other"})
            assert wrong.status_code == 401, page
    started = [server.process.pid, *descendants(server.process.pid)]
    assert len(started) > 1
    assert not any(KEY in _arguments(pid) for pid in started)


def _arguments(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def test_it_is_gone_when_muser_is_killed(smollm2: Path, tmp_path: Path) -> None:
    muser = subprocess.Popen(
        [sys.executable, "-c", MUSER, str(smollm2), str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    )
    assert muser.stdout
    with muser, muser.stdout:
        assert muser.stdout.readline().startswith("http://127.0.0.1:")
        started = descendants(muser.pid)
        assert len(started) >= 2, "the watchdog and llama.cpp"
        os.kill(muser.pid, signal.SIGKILL)
        wait_for(lambda: all(is_gone(pid) for pid in started))


async def test_a_file_that_is_no_model_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_text("no model")
    with pytest.raises(ServerError, match="it could not load the model: invalid magic"):
        async with serve_model(
            Weights("a", str(tmp_path / "a.gguf")), ServeSettings(engine="llamacpp"), log=tmp_path / "log"
        ):
            pass


async def test_an_option_that_it_lacks_is_said_so(smollm2: Path, tmp_path: Path) -> None:
    settings = ServeSettings(engine="llamacpp", options={"no_such_option": 1})
    with pytest.raises(ServerError, match="it has no option no_such_option") as refused:
        async with serve_model(Weights("a", str(smollm2)), settings, log=tmp_path / "log"):
            pass
    assert "serve.options" in refused.value.todo
