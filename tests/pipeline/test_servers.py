"""pipeline/servers.py: which server a role's model is asked at, and that one that runs already is used."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from muser.core.errors import ServerError, SettingsError
from muser.core.recipe import ModelSettings, Recipe, RoleSettings
from muser.endpoints.server import launch as servers
from muser.endpoints.server.registry import Card, announced
from muser.pipeline.servers import KEY, StartStopped, kept_up, serving, unless_stopped
from muser.store.file.database import Store
from muser.store.records.artifacts import Artifact, record_artifact

from ..endpoints.server.test_launch import descendants
from ..endpoints.server.test_watchdog import wait_for
from .conftest import MakeRecipe

URL = "http://127.0.0.1:1/v1"
# Healthy until it is asked for anything else.
FRAGILE = """
import http.server, os, sys
class Fragile(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.flush()
        if self.path != "/health":
            os._exit(7)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Fragile).serve_forever()
"""


@pytest.fixture(autouse=True)
def _vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine with vLLM; nothing here starts one."""
    monkeypatch.setattr(servers, "serving_engines", lambda: ["vllm"])
    monkeypatch.delenv(KEY, raising=False)


@pytest.fixture
def recipe(make_recipe: MakeRecipe, tmp_path: Path) -> Recipe:
    """The student refines, from its base or an adapter."""
    (tmp_path / "student").mkdir()
    models = {
        "sim": {"base_url": URL, "model": "simulated"},
        "student": {"model": "student", "serve": {"weights": "adapter"}},
    }
    roles = dict.fromkeys(("persona", "responder", "critic", "judge"), "sim") | {"refiner": "student"}
    training = {"model": "student", "method": "lora", "lora": {"r": 8, "alpha": 16}}
    return make_recipe(URL, models=models, roles=roles, training=training)


def card(recipe: Recipe, **changes: Any) -> Card:
    values = {"name": "student-base", "path": str(recipe.folder / "student"), "base_url": "http://127.0.0.1:2/v1"}
    return Card(engine="vllm", **values | {"pid": 7} | changes)


def folder(recipe: Recipe) -> Path:
    return Path(recipe.output) / "servers"


def refined_by(recipe: Recipe, model: str) -> Recipe:
    roles = recipe.roles.model_copy(update={"refiner": RoleSettings(model=model)})
    return recipe.model_copy(update={"roles": roles})


def trained(store: Store, recipe: Recipe) -> Path:
    """Stage distill as LoRA leaves it: the adapter, and the merged model made of it."""
    made = recipe.folder / "distill"
    for name in ("adapter", "merged"):
        (made / name).mkdir(parents=True)
    meta = {"base": str(recipe.folder / "student")}
    common = {"name": "student", "stage": "distill", "digest": "1", "meta": meta}
    adapter = record_artifact(store, Artifact(kind="adapter", path=str(made / "adapter"), **common))
    record_artifact(store, Artifact(kind="model", path=str(made / "merged"), **common), parents=[adapter])
    return made


async def test_a_server_that_is_kept_up_is_used_and_none_is_started(recipe: Recipe, store: Store) -> None:
    started: list[str] = []
    with announced(folder(recipe), card(recipe)):
        async with serving(recipe, store, recipe.call_roles(), on_start=lambda *said: started.append(said[0])) as up:
            pass
    assert started == []
    assert up.models["sim"] == recipe.models["sim"]
    student = up.models["student"]
    assert (student.base_url, student.model, student.serve) == ("http://127.0.0.1:2/v1", "student-base", None)
    assert up.revisions == {"student": up.revisions["student"]}


async def test_its_key_is_that_of_the_variable_on_its_card(
    recipe: Recipe, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with announced(folder(recipe), card(recipe, key_env=KEY)):
        with pytest.raises(SettingsError, match=KEY):
            async with serving(recipe, store, ["refiner"]):
                pass
        monkeypatch.setenv(KEY, "sesame")
        async with serving(recipe, store, ["refiner"]) as up:
            assert up.models["student"].api_key_env == KEY


async def test_a_stage_is_asked_of_the_server_that_has_its_adapter(recipe: Recipe, store: Store) -> None:
    made = trained(store, recipe)
    tuned = refined_by(recipe, "student@distill")
    there = card(recipe, adapters={"student-distill": str(made / "adapter")})
    with announced(folder(recipe), there):
        async with serving(tuned, store, ["refiner"]) as up:
            assert up.models["student@distill"].model == "student-distill"
            assert up.revisions == {"student@distill": "1"}


async def test_an_adapter_that_a_kept_server_lacks_is_loaded_with_the_key(
    recipe: Recipe, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "sesame")
    made, asked = trained(store, recipe), list[Any]()
    tuned = refined_by(recipe, "student@distill")

    async def answer(request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.json_response({"data": [{"id": "student-base", "root": "x"}]})
        asked.append((request.path, request.headers["Authorization"], json.loads(await request.text())["lora_path"]))
        return web.Response(text="Success")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        there = card(recipe, base_url=str(server.make_url("/v1")), lora_rank=8, key_env=KEY)
        with announced(folder(recipe), there):
            async with serving(tuned, store, ["refiner"]) as up:
                assert up.models["student@distill"].model == "student-distill"
    assert asked == [("/v1/load_lora_adapter", "Bearer sesame", str(made / "adapter"))]


async def test_a_server_of_other_weights_is_not_used(
    recipe: Recipe, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = announced(folder(recipe), card(recipe, path="/models/another"))
    with other, pytest.raises(ServerError, match=r"config\.json is missing"):
        async with serving(recipe, store, ["refiner"]):
            pass
    assert os.environ.pop(KEY), "a server of one's own has a key that was made for it"


async def test_engines_of_a_kept_server_are_asked_as_its_card_says(recipe: Recipe, store: Store) -> None:
    with announced(folder(recipe), card(recipe, data_parallel=4)):
        async with serving(recipe, store, ["refiner"]) as up:
            assert up.models["student"].data_parallel == 4


# A server that is healthy, and writes down what it was started with.
TOLD = """
import http.server, json, pathlib, sys
pathlib.Path(sys.argv[1]).write_text(json.dumps(sys.argv[2:]))
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.HTTPServer(("127.0.0.1", port), Healthy).serve_forever()
"""


async def test_a_vllm_of_its_own_serves_where_none_is_installed_and_its_engines_are_counted(
    recipe: Recipe, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "serving_engines", list)
    (recipe.folder / "student" / "config.json").write_text("{}")
    (recipe.folder / "vllm").symlink_to(sys.executable)
    (recipe.folder / "told.py").write_text(TOLD)
    said = recipe.folder / "said.json"
    command = ["./vllm", str(recipe.folder / "told.py"), str(said)]
    serve = {"command": command, "options": {"data_parallel_size": 4}, "start_timeout": 20}
    student = ModelSettings.model_validate({"model": "student", "serve": serve})
    own = recipe.model_copy(update={"models": {**recipe.models, "student": student}})
    async with serving(own, store, ["refiner"]) as up:
        assert up.models["student"].data_parallel == 4
    assert os.environ.pop(KEY)
    words = json.loads(said.read_text())
    assert words[words.index("--data-parallel-size") + 1] == "4"
    assert "--middleware=muser_auth.KeyAuth" in words


async def test_a_model_that_is_served_already_is_not_served_twice(recipe: Recipe, store: Store) -> None:
    there = announced(folder(recipe), card(recipe))
    with there, pytest.raises(ServerError, match=r"already served at http://127\.0\.0\.1:2/v1 by process 7"):
        async with kept_up(recipe, store, "student"):
            pass


async def test_a_stop_while_a_server_starts_gives_up() -> None:
    stop, ended = asyncio.Event(), asyncio.Event()

    async def start() -> None:
        try:
            stop.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(StartStopped):
        await unless_stopped(start(), stop)
    assert ended.is_set()


async def test_a_server_that_went_away_is_why_calls_failed(
    recipe: Recipe, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (recipe.folder / "student" / "config.json").write_text("{}")
    monkeypatch.setattr(servers, "serving_engines", lambda: ["transformers"])
    monkeypatch.setattr(servers, "transformers_command", lambda _, port, __: [sys.executable, "-c", FRAGILE, str(port)])
    with pytest.raises(ServerError, match="exited unexpectedly with status 7") as ended:
        await outlive_server(recipe, store)
    assert "resumes where it stopped" in ended.value.todo
    assert ended.value.where.endswith("logs/student-base.log")
    assert os.environ.pop(KEY)


async def outlive_server(recipe: Recipe, store: Store) -> None:
    """Asks the student's server once, which ends it, and does not leave before it has."""
    before = set(descendants(os.getpid()))
    async with serving(recipe, store, ["refiner"]) as up:
        async with aiohttp.ClientSession() as client:
            await client.get(f"{up.models['student'].base_url}/models")
        await asyncio.to_thread(wait_for, lambda: set(descendants(os.getpid())) <= before)
        # The event loop hears of an ended child from a thread.
        await asyncio.sleep(0.05)
