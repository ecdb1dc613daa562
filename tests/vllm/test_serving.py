"""endpoints/serving.py with a real vLLM: a model and its adapter under their names, and nothing left afterwards."""

import json
import os
from pathlib import Path

import pytest

from muser.core.recipe import ModelSettings, RoleSettings, ServeSettings
from muser.core.types import Message, Request
from muser.endpoints.chat import open_endpoints
from muser.endpoints.serving import serve_model

pytestmark = pytest.mark.vllm
ASK = Request(messages=(Message(role="user", content="I have had chest pain since yesterday."),))


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter that was not trained, but answers unlike its base."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("adapters") / "lora"
    config = LoraConfig(r=8, lora_alpha=64, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model), config).save_pretrained(folder)
    return folder


def children(pid: int) -> list[int]:
    """The processes that this one started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for task in tasks for word in task.read_text().split()]


async def test_a_model_and_its_adapter_are_served_under_their_names_and_stopped(
    tiny_model: Path, adapter: Path, tmp_path: Path
) -> None:
    before = set(children(os.getpid()))
    settings = ServeSettings(max_model_len=1024)
    served = serve_model("student-distill", str(tiny_model), settings, log=tmp_path / "log", adapter=adapter)
    async with served as url:
        model = ModelSettings(model="student-distill", base_url=url, temperature=0, max_tokens=16)
        models = {"adapted": model, "base": model.model_copy(update={"model": "student-distill-base"})}
        async with open_endpoints(models) as endpoints:
            await endpoints["adapted"].check()
            replies = {
                name: await endpoints[name].complete(ASK, RoleSettings(model=name), 1) for name in ("adapted", "base")
            }
        started = set(children(os.getpid())) - before
    assert {name: reply.model for name, reply in replies.items()} == {name: m.model for name, m in models.items()}
    assert replies["adapted"].text != replies["base"].text
    assert json.loads((adapter / "adapter_config.json").read_text())["r"] == 8
    assert started
    assert not started & set(children(os.getpid()))
