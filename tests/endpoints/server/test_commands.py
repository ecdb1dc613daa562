"""Which engine serves a model, and the command that starts llama.cpp; tests/real starts it."""

import json
from pathlib import Path

import pytest

from muser.core.errors import ServerError
from muser.core.recipe import ServeSettings
from muser.endpoints.server import launch
from muser.endpoints.server.commands import Weights, environment, llamacpp_command
from muser.endpoints.server.launch import Engine, engine_of, serve_model


@pytest.mark.parametrize(
    ("there", "file", "settings", "engine"),
    [
        (["vllm", "llamacpp", "transformers"], "model.gguf", {}, "vllm"),
        (["llamacpp", "transformers"], "model.gguf", {}, "llamacpp"),
        (["llamacpp", "transformers"], "config.json", {}, "transformers"),
        (["transformers"], "model.gguf", {}, "transformers"),
        (["vllm"], "model.gguf", {"engine": "transformers"}, "transformers"),
        (["transformers"], "model.gguf", {"python": "/opt/vllm/bin/python"}, "vllm"),
        ([], "config.json", {}, None),
    ],
)
def test_the_engine_is_the_named_one_or_the_first_that_can_serve_the_model(
    there: list[Engine],
    file: str,
    settings: dict[str, str],
    engine: Engine | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / file).touch()
    monkeypatch.setattr(launch, "serving_engines", lambda: there)
    assert engine_of(ServeSettings(**settings), str(tmp_path)) == engine
    assert engine_of(ServeSettings(), "somewhere/model.gguf") == "llamacpp"


@pytest.mark.parametrize(
    ("file", "there", "says"),
    [
        ("config.json", ["llamacpp"], "it needs a GGUF file"),
        ("model.gguf", ["vllm"], "engine llamacpp is not installed"),
    ],
)
async def test_what_llama_cpp_cannot_serve_is_refused_before_it_starts(
    file: str, there: list[Engine], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / file).touch()
    monkeypatch.setattr(launch, "serving_engines", lambda: there)
    with pytest.raises(ServerError, match=says):
        async with serve_model(Weights("tiny", str(tmp_path)), ServeSettings(engine="llamacpp"), log=tmp_path / "log"):
            pass


def test_llama_cpp_gets_the_gguf_file_and_the_key_by_the_environment_only(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").touch()
    settings = ServeSettings(engine="llamacpp", max_model_len=2048, options={"n_parallel": 2})
    command = llamacpp_command(Weights("tiny", str(tmp_path)), settings, 8123)
    assert command[command.index("--model") + 1] == str(tmp_path / "model.gguf")
    assert command[command.index("--context") + 1] == "2048"
    assert json.loads(command[command.index("--options") + 1]) == {"n_parallel": 2}
    given = environment(settings, Weights("tiny", str(tmp_path)), "secret")
    assert "secret" not in command
    assert given["MUSER_LLAMACPP_KEY"] == "secret"
