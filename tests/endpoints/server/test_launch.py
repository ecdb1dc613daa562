"""endpoints/server/launch.py: what starts a server, and a real `transformers serve` started, asked and stopped."""

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from muser.core.errors import ServerError
from muser.core.recipe import ModelSettings, RoleSettings, ServeSettings
from muser.core.types import Message, Request
from muser.endpoints.client.chat import open_endpoints
from muser.endpoints.server.commands import Weights, environment, reasoning_parser, vllm_command
from muser.endpoints.server.launch import ENGINES, serve_model, serving_engines

from .test_watchdog import is_gone, wait_for

# A muser that serves a model until it is killed.
MUSER = """
import asyncio, sys
from pathlib import Path
from muser.core.recipe import ServeSettings
from muser.endpoints.server.commands import Weights
from muser.endpoints.server.launch import serve_model

async def main():
    folder, log = sys.argv[1:]
    weights = Weights("tiny", folder)
    async with serve_model(weights, ServeSettings(), log=Path(log), engine="transformers") as server:
        print(server.url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


STUDENT = Weights("student-distill", "/models/student")
AUTH = Path("/run/auth")


def descendants(pid: int) -> list[int]:
    """All processes that this one started, from /proc."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    found, queue = [], [pid]
    while queue:
        children = [child for child, parent in parents.items() if parent == queue[0]]
        found += children
        queue = queue[1:] + children
    return found


def flags(settings: ServeSettings, weights: Weights = STUDENT) -> dict[str, str]:
    words = vllm_command(weights, settings, 8123)
    words = words[words.index("vllm.entrypoints.openai.api_server") + 1 :]
    return dict(zip(words, [*words[1:], ""], strict=True))


def test_vllm_gets_what_muser_relies_on() -> None:
    given = flags(ServeSettings())
    assert (given["--model"], given["--served-model-name"]) == ("/models/student", "student-distill")
    assert (given["--host"], given["--port"]) == ("127.0.0.1", "8123")
    assert "--enable-prompt-tokens-details" in given
    assert json.loads(given["--structured-outputs-config"])["disable_any_whitespace"] is True


def test_options_of_the_recipe_win_except_over_the_address() -> None:
    options = {
        "max_num_seqs": 8,
        "enable_prompt_tokens_details": False,
        "port": 1,
        "structured-outputs-config": {"backend": "auto"},
        "allowed-origins": ["a", "b"],
    }
    given = flags(ServeSettings(max_model_len=4096, gpu_memory_utilization=0.5, options=options))
    assert given["--max-num-seqs"] == "8"
    assert given["--max-model-len"] == "4096"
    assert given["--gpu-memory-utilization"] == "0.5"
    assert given["--port"] == "8123"
    assert given["--structured-outputs-config"] == '{"backend": "auto"}'
    assert given["--allowed-origins"] == "a"
    assert "--no-enable-prompt-tokens-details" in given


def test_an_adapter_is_served_under_its_name_and_its_base_beside_it(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"r": 24}')
    given = flags(ServeSettings(), Weights("student-base", "/models/student", {"student-distill": tmp_path}))
    assert given["--served-model-name"] == "student-base"
    assert given["--lora-modules"] == f"student-distill={tmp_path}"
    assert given["--max-lora-rank"] == "32"


def test_room_for_adapters_that_come_later_is_made_for_a_rank_and_opened_by_a_key() -> None:
    later = Weights("student-base", "/models/student", lora_rank=12)
    assert flags(ServeSettings(), later)["--max-lora-rank"] == "16"
    opened = environment(ServeSettings(), later, "secret")
    assert (opened["VLLM_API_KEY"], opened["VLLM_ALLOW_RUNTIME_LORA_UPDATING"]) == ("secret", "1")
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" not in environment(ServeSettings(), later, None)
    assert not any("secret" in word for word in vllm_command(later, ServeSettings(), 8123, AUTH))


@pytest.mark.parametrize("given", ["own.Filter", ["own.Filter", "own.second"], []])
def test_middleware_of_the_recipe_stands_behind_the_key_gate_and_never_replaces_it(given: Any) -> None:
    words = vllm_command(STUDENT, ServeSettings(options={"middleware": given}), 8123, AUTH)
    own = [given] if isinstance(given, str) else given
    # vLLM's last middleware is the outermost.
    assert [word for word in words if "middleware" in word] == [
        *(f"--middleware={name}" for name in own),
        "--middleware=muser_auth.KeyAuth",
    ]
    assert not any("muser_auth" in word for word in vllm_command(STUDENT, ServeSettings(), 8123)), "no key, no auth"


def test_vllm_may_be_in_an_environment_of_its_own() -> None:
    words = vllm_command(STUDENT, ServeSettings(python="/opt/vllm/bin/python"), 8123, AUTH)
    assert words[:3] == ["/opt/vllm/bin/python", "-m", "vllm.entrypoints.openai.api_server"]
    given = environment(ServeSettings(python="/opt/vllm/bin/python"), STUDENT, "secret", AUTH)
    assert (given["PYTHONPATH"].split(":")[0], given["PYTHONSAFEPATH"]) == ("/run/auth", "1")


def test_vllm_may_be_in_a_container_that_the_gate_is_mounted_into() -> None:
    command = ["docker", "run", "-v", "{auth}:{auth}", "-e", "PYTHONPATH", "-e", "VLLM_API_KEY", "vllm/vllm-openai"]
    words = vllm_command(STUDENT, ServeSettings(command=command), 8123, AUTH)
    assert words[: len(command)] == [*command[:3], "/run/auth:/run/auth", *command[4:]]
    assert words[words.index("--model") + 1] == "/models/student"


async def test_a_program_that_is_not_there_is_said_before_anything_starts(tmp_path: Path) -> None:
    for settings in (ServeSettings(python="/no/python"), ServeSettings(command=["no-such-docker", "run"])):
        with pytest.raises(ServerError, match="was not found") as refused:
            async with serve_model(STUDENT, settings, log=tmp_path / "log"):
                pass
        assert "serve." in refused.value.todo


# A vLLM as another environment has it: without muser, its middleware imported by name.
OTHER_VLLM = """
import asyncio, http.server, importlib, importlib.util, sys
assert importlib.util.find_spec("muser") is None
words = dict(zip(sys.argv, sys.argv[1:]))
(named,) = (word.partition("=")[2] for word in sys.argv if word.startswith("--middleware="))
module, _, name = named.rpartition(".")

async def app(scope, receive, send):
    await send({"status": 200})

auth = getattr(importlib.import_module(module), name)(app)

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        async def send(message):
            if "status" in message:
                self.send_response(message["status"])
                self.end_headers()
        headers = [(key.lower().encode(), value.encode()) for key, value in self.headers.items()]
        asyncio.run(auth({"type": "http", "path": self.path, "headers": headers}, None, send))

http.server.HTTPServer(("127.0.0.1", int(words["--port"])), Page).serve_forever()
"""


async def test_the_key_gate_is_imported_where_muser_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "vllm.py").write_text(OTHER_VLLM)
    settings = ServeSettings(command=[sys.executable, "-S", str(tmp_path / "vllm.py")], start_timeout=20)
    log = tmp_path / "server.log"
    async with (
        serve_model(Weights("tiny", "x"), settings, log=log, key="sesame") as server,
        httpx2.AsyncClient() as web,
    ):
        root = server.url.removesuffix("/v1")
        for page in ("/invocations", "/v1/models", "/metrics"):
            assert (await web.get(root + page)).status_code == 401
            assert (await web.get(root + page, headers={"authorization": "Bearer sesame"})).status_code == 200


@pytest.mark.parametrize("engine", ["vllm", "own python", "command"])
def test_nothing_is_reported_unless_the_user_has_set_it(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("VLLM_NO_USAGE_STATS", "HF_HUB_DISABLE_TELEMETRY", "RAY_USAGE_STATS_ENABLED")
    for name in (*names, "DO_NOT_TRACK"):
        monkeypatch.delenv(name, raising=False)
    places: dict[str, dict[str, Any]] = {
        "own python": {"python": "/opt/vllm/bin/python"},
        "command": {"command": ["docker"]},
    }
    chosen = places.get(engine, {})
    silent = environment(ServeSettings.model_validate(chosen), STUDENT, None)
    assert [silent[name] for name in names] == ["1", "1", "0"]
    monkeypatch.setenv("VLLM_NO_USAGE_STATS", "0")
    told = environment(ServeSettings.model_validate(chosen | {"env": {"RAY_USAGE_STATS_ENABLED": "1"}}), STUDENT, None)
    assert [told[name] for name in names] == ["0", "1", "1"]
    assert "DO_NOT_TRACK" not in told, "it would overrule what the user has set"


def test_a_key_of_the_users_shell_does_not_become_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "mine")
    assert "VLLM_API_KEY" not in environment(ServeSettings(), STUDENT, None)


@pytest.mark.parametrize(
    ("name", "parser"),
    [
        ("Qwen/Qwen3-14B", "qwen3"),
        ("Qwen/Qwen3-30B-A3B-FP8", "qwen3"),
        ("Qwen/Qwen3-4B-Thinking-2507", "qwen3"),
        ("Qwen/Qwen3-4B-Instruct-2507", None),
        ("Qwen/Qwen3-Coder-30B-A3B-Instruct", None),
        ("openai/gpt-oss-120b", None),
    ],
)
def test_a_parser_of_reasoning_is_chosen_by_the_hub_name(name: str, parser: str | None) -> None:
    assert reasoning_parser(name) == parser


def test_the_recipe_may_name_a_parser_of_reasoning_or_do_without() -> None:
    qwen = Weights("student-base", "Qwen/Qwen3-14B")
    parsers = {
        given: flags(ServeSettings(reasoning_parser=given), qwen).get("--reasoning-parser")
        for given in ("auto", "deepseek_r1", "none")
    }
    assert parsers == {"auto": "qwen3", "deepseek_r1": "deepseek_r1", "none": None}


def test_a_parser_of_reasoning_is_chosen_by_a_folders_kind_and_template(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen3"}')
    assert reasoning_parser(str(tmp_path)) is None, "a Qwen3 that never thinks"
    (tmp_path / "chat_template.jinja").write_text("{% if enable_thinking %}<think>{% endif %}")
    assert reasoning_parser(str(tmp_path)) == "qwen3"
    (tmp_path / "config.json").write_text("broken")
    assert reasoning_parser(str(tmp_path)) is None


async def test_a_name_that_no_server_takes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="student@distill"):
        async with serve_model(Weights("student@distill", "x"), ServeSettings(), log=tmp_path / "log"):
            pass


async def test_without_an_engine_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert set(serving_engines()) <= set(ENGINES)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ServerError, match="nothing here can serve tiny") as refused:
        async with serve_model(Weights("tiny", "x"), ServeSettings(), log=tmp_path / "log"):
            pass
    assert "[vllm]" in refused.value.todo


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from muser.trainer.tiny import build_tiny_model

    return build_tiny_model(tmp_path_factory.mktemp("models") / "tiny", texts=["I have chest pain. What now?"])


@pytest.mark.train
async def test_a_model_is_served_asked_and_gone_afterwards(tiny: Path, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "tiny.log"
    request = Request(messages=(Message(role="user", content="I have chest pain."),))
    weights = Weights("tiny-base", str(tiny))
    async with serve_model(weights, ServeSettings(), log=log, engine="transformers") as server:
        model = ModelSettings(model="tiny-base", base_url=server.url, temperature=0, max_tokens=8)
        async with open_endpoints({"m": model}) as endpoints:
            await endpoints["m"].check()
            calls = [endpoints["m"].complete(request, RoleSettings(model="m"), 1) for _ in range(8)]
            replies = await asyncio.gather(*calls)
        running = descendants(os.getpid())
        assert len(running) >= 2
    assert {reply.finish_reason for reply in replies} == {"length"}
    assert len({reply.text for reply in replies}) == 1
    assert replies[0].usage.tokens_out == 8
    assert all(map(is_gone, running))
    assert log.read_text()


@pytest.mark.train
async def test_a_failing_start_shows_the_end_of_the_log(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "unheard-of"}')
    log = tmp_path / "tiny.log"
    with pytest.raises(ServerError, match="failed to start") as failed:
        async with serve_model(Weights("tiny", str(tmp_path)), ServeSettings(), log=log, engine="transformers"):
            pass
    assert log.read_text().splitlines()[-1] in failed.value.what
    assert failed.value.where == str(log)
    assert not descendants(os.getpid())


@pytest.mark.train
async def test_a_start_that_takes_too_long_is_given_up(tiny: Path, tmp_path: Path) -> None:
    settings = ServeSettings(start_timeout=0.5)
    with pytest.raises(ServerError, match=r"not ready within 0\.5 s"):
        async with serve_model(Weights("tiny", str(tiny)), settings, log=tmp_path / "log", engine="transformers"):
            pass


@pytest.mark.train
def test_sigkill_of_muser_leaves_no_server(tiny: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", MUSER, str(tiny), str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as muser:
        assert muser.stdout
        assert muser.stdout.readline().startswith("http://127.0.0.1:")
        running = descendants(muser.pid)
        assert len(running) >= 2
        muser.send_signal(signal.SIGKILL)
    wait_for(lambda: all(map(is_gone, running)))
