"""Keys and headers come from the environment, go with every request, and are shown nowhere."""

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from muser.core.errors import EndpointRefused, SettingsError
from muser.core.loading import load_recipe, recipe_yaml
from muser.core.recipe import Recipe
from muser.endpoints.client.chat import open_endpoints
from muser.endpoints.client.keys import Secrets, read_secrets

from ..conftest import Serve, ask, completion, settings


async def test_headers_of_the_environment_go_with_calls_and_checks(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str | None]] = []

    async def listen(request: web.Request) -> web.Response:
        seen.append((request.path, request.headers.get("X-Team")))
        body: dict[str, Any] = completion(content="a") if request.method == "POST" else {"data": [{"id": "simulated"}]}
        return web.json_response(body)

    monkeypatch.setenv("MUSER_TEST_TEAM", "blue")
    model = settings(await serve(listen), headers_env={"X-Team": "MUSER_TEST_TEAM"})
    await ask(model)
    async with open_endpoints({"m": model}) as endpoints:
        await endpoints["m"].check()
    assert seen == [("/v1/chat/completions", "blue"), ("/v1/models", "blue")]


async def test_a_header_may_take_the_place_of_the_key(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    async def listen(request: web.Request) -> web.Response:
        seen.extend(request.headers.getall("Authorization"))
        return web.json_response(completion(content="a"))

    monkeypatch.setenv("MUSER_TEST_BASIC", "Basic abc")
    await ask(settings(await serve(listen), headers_env={"Authorization": "MUSER_TEST_BASIC"}))
    assert seen == ["Basic abc"]


async def test_a_header_that_the_server_echoes_is_hidden(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async def echo(request: web.Request) -> web.Response:
        return web.json_response({"error": {"message": request.headers["X-Team"]}}, status=400)

    monkeypatch.setenv("MUSER_TEST_TEAM", "very-private")
    with pytest.raises(EndpointRefused) as refused:
        await ask(settings(await serve(echo), headers_env={"X-Team": "MUSER_TEST_TEAM"}))
    assert "very-private" not in str(refused.value)


def test_every_missing_variable_is_named_at_once() -> None:
    models = {"a": settings("http://a/v1", api_key_env="MUSER_NO_A", headers_env={"X": "MUSER_NO_B"})}
    with pytest.raises(SettingsError, match=r"MUSER_NO_A \(models\.a\), MUSER_NO_B \(models\.a\)"):
        read_secrets(models)


def test_secrets_are_in_no_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSER_TEST_TEAM", "very-private")
    model = settings("http://a/v1", api_key_env="MUSER_TEST_TEAM", headers_env={"X": "MUSER_TEST_TEAM"})
    assert "very-private" not in repr(read_secrets({"a": model}))


def test_a_key_in_the_place_of_a_headers_variable_is_refused_and_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        "samples: 1\nmodels:\n  a:\n    model: m\n    base_url: http://a/v1\n"
        "    headers_env: {X-Key: sk-abcdefabcdefabcdef012345}\n"
    )
    with pytest.raises(SettingsError, match=r"models\.a\.headers_env\.X-Key") as refused:
        load_recipe(path)
    assert "abcdef" not in str(refused.value)


def test_several_addresses_and_headers_survive_the_resolved_recipe(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        "samples: 1\nmodels:\n  a:\n    model: m\n    base_url: [http://a/v1/, http://b/v1]\n    headers_env: {X: Y}\n"
    )
    recipe = load_recipe(path)
    assert recipe.models["a"].addresses == ["http://a/v1", "http://b/v1"]
    (tmp_path / "again.yaml").write_text(recipe_yaml(recipe))
    again: Recipe = load_recipe(tmp_path / "again.yaml")
    assert again.models == recipe.models


@pytest.mark.parametrize("urls", ["[]", "[http://a/v1, http://a/v1]", "[a/v1]", "3"])
def test_addresses_that_cannot_be_are_refused(tmp_path: Path, urls: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(f"samples: 1\nmodels:\n  a: {{model: m, base_url: {urls}}}\n")
    with pytest.raises(SettingsError, match=r"r\.yaml:3: models\.a(\.base_url)?: "):
        load_recipe(path)


def test_a_key_of_the_servers_own_that_its_error_shows_is_hidden_too() -> None:
    said = Secrets(key="mine").hide("mine and hf_AbCdEfGhIjKlMnOpQrSt are no good")
    assert said == "*** and *** are no good"
