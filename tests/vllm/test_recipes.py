"""The flags that shipped recipes and muser itself give to vLLM are flags that vLLM has."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from muser.core.loading import load_recipe
from muser.endpoints.server.commands import Weights, vllm_command

pytestmark = pytest.mark.vllm
RECIPES = Path(__file__).parents[2] / "recipes"
SERVED = [
    (path.name, name)
    for path in sorted(RECIPES.glob("*.yaml"))
    for name, model in load_recipe(path).models.items()
    if model.serve
]
# vLLM's own parser, without its engine.
PARSE = """
import json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser
for words in json.load(sys.stdin):
    make_arg_parser(FlexibleArgumentParser()).parse_args(words)
"""


def test_vllm_knows_every_flag_of_the_recipes(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"r": 16}')
    commands = []
    for recipe, name in SERVED:
        model = load_recipe(RECIPES / recipe).models[name]
        assert model.serve is not None
        for adapters in ({}, {"tuned": tmp_path}):
            words = vllm_command(Weights(name, model.model, adapters), model.serve, 8123, tmp_path)
            commands.append(words[words.index("vllm.entrypoints.openai.api_server") + 1 :])
    assert len(commands) >= 12
    done = subprocess.run(
        [sys.executable, "-c", PARSE], input=json.dumps(commands), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
