"""Serving with a real vLLM: other commands find it, adapters beside their base, its key, and what is left of it."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from muser.core.recipe import ModelSettings, RoleSettings
from muser.core.types import Message, Request
from muser.endpoints.client.chat import open_endpoints
from muser.store.file.database import Store
from muser.store.records.artifacts import Artifact, record_artifact

from ..cli.conftest import Muser, muser
from ..endpoints.server.test_launch import descendants
from ..endpoints.server.test_watchdog import is_gone, wait_for
from ..pipeline.conftest import benchmark_lines
from .conftest import OFFLINE, muser_serve

__all__ = ["muser"]

pytestmark = pytest.mark.vllm
ASK = Request(messages=(Message(role="user", content="I have had chest pain since yesterday."),))
KEY, SESAME = "MUSER_SERVER_KEY", "open-sesame-of-this-test"
# A random model hardly ever ends a text by itself: it ends in a letter that it is likely to reach.
ENDS_SOON = {"stop": ["e", "a", " "], "min_tokens": 4}
FREE = {"reasoning": "off"}
STAGE = {"epochs": 1}


class Kept(NamedTuple):
    """A `muser serve` that is up: its process, what it said, its recipe's folder."""

    process: "subprocess.Popen[str]"
    told: dict[str, Any]
    folder: Path

    @property
    def recipe(self) -> str:
        return str(self.folder / "student.yaml")


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store in which two stages of a student are trained: adapters of one base, and merged models."""
    folder = tmp_path_factory.mktemp("student")
    with Store.open(folder / "muser.db") as store:
        for seed, stage in enumerate(("distill", "refine")):
            made = _train(tiny_model, folder / stage, seed)
            common: dict[str, Any] = {"name": "student", "stage": stage, "digest": str(seed)}
            meta = {"base": str(tiny_model)}
            adapter = record_artifact(store, Artifact(kind="adapter", path=str(made / "adapter"), meta=meta, **common))
            model = Artifact(kind="model", path=str(made / "merged"), meta=meta, **common)
            record_artifact(store, model, parents=[adapter])
    return folder


def _train(base: Path, folder: Path, seed: int) -> Path:
    """An adapter that was not trained but answers unlike its base, and the two merged."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    config = LoraConfig(r=8, lora_alpha=64, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    model.save_pretrained(folder / "adapter")
    model.merge_and_unload().save_pretrained(folder / "merged")
    AutoTokenizer.from_pretrained(base).save_pretrained(folder / "merged")
    return folder


@pytest.fixture
def recipe(trained: Path, tiny_model: Path, simulated: str) -> dict[str, Any]:
    """The student, at stages of its, answers and refines; critics and judge are simulated."""
    (trained / "benchmark.jsonl").write_text(benchmark_lines().splitlines(keepends=True)[0])
    (trained / "questions.jsonl").write_text('{"query": "Is honey good for a sore throat?"}\n')
    student = {
        "model": str(tiny_model),
        "max_tokens": 1500,
        "extra_body": ENDS_SOON,
        "serve": {"weights": "adapter", "max_model_len": 4096, "env": OFFLINE, "start_timeout": 300},
    }
    return {
        "name": "student",
        "queries": "questions.jsonl",
        "models": {"sim": {"base_url": simulated, "model": "simulated"}, "student": student},
        "roles": {
            "responder": FREE | {"model": "student"},
            "critic": "sim",
            "refiner": FREE | {"model": "student@refine"},
            "judge": "sim",
        },
        "critics": {"safety": {"prompt": "safety.md"}},
        "training": {"model": "student", "lora": {"r": 8, "alpha": 64}},
        "evaluation": {"file": "benchmark.jsonl"},
        "store": str(trained / "muser.db"),
        "output": str(trained / "output"),
    }


def write(recipe: dict[str, Any], folder: Path) -> str:
    (folder / "student.yaml").write_text(json.dumps(recipe))
    return str(folder / "student.yaml")


@pytest.fixture(scope="module")
def server(trained: Path, tiny_model: Path) -> Iterator[Kept]:
    """A `muser serve` of stage distill as an adapter on its base, with a key; stage refine's adapter may come later."""
    serve = {"weights": "adapter", "max_model_len": 4096, "env": OFFLINE}
    # Middleware of the recipe's own stands behind the key check.
    serve["options"] = {"middleware": "starlette.middleware.gzip.GZipMiddleware"}
    student = {"model": str(tiny_model), "serve": serve}
    settings = {
        "name": "student",
        "models": {"student": student},
        "training": {"model": "student", "lora": {"r": 8, "alpha": 64}},
        "store": str(trained / "muser.db"),
        "output": str(trained / "output"),
    }
    (trained / "kept.yaml").write_text(json.dumps(settings))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY, SESAME)
        with muser_serve(trained, "kept.yaml", "student@distill") as (process, told):
            yield Kept(process, told, trained)


def status(url: str, key: str = "", body: bytes | None = None) -> int:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    asked = urllib.request.Request(url, data=body, headers=headers | {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


async def test_an_adapter_and_its_base_are_served_under_their_names(server: Kept) -> None:
    base = ModelSettings(
        model="student-distill-base", base_url=server.told["base_url"], api_key_env=KEY, temperature=0, max_tokens=16
    )
    models = {"base": base, "adapted": base.model_copy(update={"model": "student-distill"})}
    async with open_endpoints(models) as endpoints:
        await endpoints["adapted"].check()
        replies = {name: await endpoints[name].complete(ASK, RoleSettings(model=name), 1) for name in models}
        loads = await endpoints["base"].loads()
    assert replies["adapted"].text + replies["adapted"].reasoning != replies["base"].text + replies["base"].reasoning
    assert [load.waiting for load in loads.values()] == [0], "its metrics are read with the key"


def test_every_page_but_health_asks_for_the_key_which_is_written_nowhere(server: Kept) -> None:
    root = server.told["base_url"].removesuffix("/v1")
    assert status(f"{root}/health") == 200
    say = json.dumps({"model": "student-distill", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2})
    pages = {"/v1/chat/completions": say, "/invocations": say, "/tokenize": say, "/metrics": None, "/version": None}
    for page, text in pages.items():
        body = text.encode() if text else None
        assert (status(root + page, body=body), status(root + page, SESAME, body)) == (401, 200), page
    assert status(f"{root}/adapters", body=b'{"name": "x", "src": "/"}') == 401
    for path in server.folder.rglob("*"):
        if path.is_file() and path.suffix in {".log", ".json", ".yaml", ".err"}:
            assert SESAME not in path.read_text(errors="replace"), path
    cards = (Path(f"/proc/{pid}/cmdline").read_text() for pid in descendants(server.process.pid))
    assert not any(SESAME in card for card in cards)


def test_a_run_a_probe_and_an_evaluation_use_it_and_load_the_adapter_that_it_lacks(
    server: Kept, recipe: dict[str, Any], muser: Muser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, SESAME)
    before = set(descendants(os.getpid()))
    path = write(recipe, server.folder)
    ran = muser("run", path, "--json")
    assert (ran.code, ran.json()["done"]) == (0, 1), ran.err
    usage = {line["role"]: line for line in ran.json()["usage"]}
    assert usage["refiner"]["calls"] >= 1
    probed = muser("check", path, "--probe", "--json")
    told = {(found["what"], *found["roles"]): found["level"] for found in probed.json()["findings"]}
    assert told["server", "responder"] == told["server", "refiner"] == "good", probed.out
    graded = muser("eval", "run", path, "--model", "student@distill", "--json")
    assert (graded.code, graded.json()["done"]) == (0, 1), graded.err
    assert "serving" not in ran.err + probed.err + graded.err
    assert set(descendants(os.getpid())) <= before
    listing = urllib.request.Request(f"{server.told['base_url']}/models", headers={"Authorization": f"Bearer {SESAME}"})
    with urllib.request.urlopen(listing, timeout=20) as answer:
        cards = {card["id"]: card["parent"] for card in json.load(answer)["data"]}
    base = "student-distill-base"
    assert cards == {base: None, "student-distill": base, "student-refine": base}


def test_sigkill_of_muser_leaves_no_server(server: Kept) -> None:
    servers = descendants(server.process.pid)
    assert len(servers) >= 3
    server.process.send_signal(signal.SIGKILL)
    server.process.wait(timeout=20)
    wait_for(lambda: all(map(is_gone, servers)))


def test_a_run_starts_what_it_needs_merged_and_leaves_nothing(
    recipe: dict[str, Any], trained: Path, muser: Muser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY, raising=False)
    recipe["models"]["student"]["serve"]["weights"] = "merged"
    recipe["roles"] |= {"responder": "sim", "refiner": FREE | {"model": "student@distill"}}
    before = set(descendants(os.getpid()))
    ran = muser("run", write(recipe | {"name": "merged"}, trained), "--json")
    assert (ran.code, ran.json()["done"]) == (0, 1), ran.err
    assert f"serving student@distill from {trained / 'distill' / 'merged'}" in ran.err
    assert set(descendants(os.getpid())) <= before
    log = (trained / "output" / "logs" / "student-distill.log").read_text()
    assert "startup complete" in log
    assert os.environ.pop(KEY) not in log


def test_ctrl_c_while_a_server_starts_leaves_nothing(recipe: dict[str, Any], trained: Path) -> None:
    command = [sys.executable, "-m", "muser", "run", write(recipe | {"name": "stopped"}, trained)]
    with subprocess.Popen(command, cwd=trained, stderr=subprocess.PIPE, text=True) as muser:
        wait_for(lambda: len(descendants(muser.pid)) >= 3, seconds=120)
        servers = descendants(muser.pid)
        muser.send_signal(signal.SIGINT)
        _, err = muser.communicate(timeout=60)
    assert muser.returncode == 130, err
    assert all(map(is_gone, servers))
