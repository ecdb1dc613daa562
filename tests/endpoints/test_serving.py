"""endpoints/serving.py: what starts a server, and a real `transformers serve` started, asked and stopped."""

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from muser.core.errors import ServerError
from muser.core.recipe import ModelSettings, RoleSettings, ServeSettings
from muser.core.types import Message, Request
from muser.endpoints.chat import open_endpoints
from muser.endpoints.commands import Weights, environment, reasoning_parser, vllm_command
from muser.endpoints.serving import ENGINES, serve_model, serving_engine

from .test_guard import is_gone, wait_for

# A muser that serves a model until it is killed.
MUSER = """
import asyncio, sys
from pathlib import Path
from muser.core.recipe import ServeSettings
from muser.endpoints.commands import Weights
from muser.endpoints.serving import serve_model

async def main():
    folder, log = sys.argv[1:]
    weights = Weights("tiny", folder)
    async with serve_model(weights, ServeSettings(), log=Path(log), engine="transformers") as server:
        print(server.url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


STUDENT = Weights("student-distill", "/models/student")


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


def flags(settings: ServeSettings, weights: Weights = STUDENT, *, keyed: bool = False) -> dict[str, str]:
    words = vllm_command(weights, settings, 8123, keyed=keyed)
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
    given = flags(ServeSettings(), later, keyed=True)
    assert (given["--max-lora-rank"], given["--middleware"]) == ("16", "muser.endpoints.gate.Gate")
    opened = environment(ServeSettings(), later, "secret")
    assert (opened["VLLM_API_KEY"], opened["VLLM_ALLOW_RUNTIME_LORA_UPDATING"]) == ("secret", "1")
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" not in environment(ServeSettings(), later, None)
    assert not any("secret" in word for word in vllm_command(later, ServeSettings(), 8123, keyed=True))


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
    assert serving_engine() in (*ENGINES, None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ServerError, match="muser") as refused:
        async with serve_model(Weights("tiny", "x"), ServeSettings(), log=tmp_path / "log"):
            pass
    assert "pip install" in refused.value.todo


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
    with pytest.raises(ServerError, match="did not start") as failed:
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
