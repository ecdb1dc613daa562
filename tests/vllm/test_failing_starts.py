"""A real vLLM that does not start becomes one sentence, and leaves no process."""

import asyncio
import os
from pathlib import Path

import pytest

from muser.core.errors import ServerError
from muser.core.recipe import ServeSettings
from muser.endpoints.server.commands import Weights
from muser.endpoints.server.launch import serve_model

from ..endpoints.server.test_launch import descendants


async def reasons(model: Path, log: Path, *wrong: ServeSettings) -> list[str]:
    """The first line of what is said of each of these starts, all at once."""
    before = set(descendants(os.getpid()))

    async def fail(number: int, settings: ServeSettings) -> str:
        with pytest.raises(ServerError) as failed:
            async with serve_model(Weights("tiny", str(model)), settings, log=log / f"{number}.log", engine="vllm"):
                pass
        return failed.value.what.splitlines()[0]

    said = await asyncio.gather(*(fail(number, settings) for number, settings in enumerate(wrong)))
    assert set(descendants(os.getpid())) <= before
    return said


@pytest.mark.vllm
async def test_a_flag_and_a_context_that_there_are_not(tiny_model: Path, tmp_path: Path) -> None:
    no_flag, too_long = ServeSettings(options={"no-such-flag": 1}), ServeSettings(max_model_len=99999)
    assert await reasons(tiny_model, tmp_path, no_flag, too_long) == [
        "the server for tiny failed to start: it has no flag --no-such-flag",
        "the server for tiny failed to start: the model's context is shorter than 99999 tokens",
    ]


@pytest.mark.nightly
async def test_memory_that_does_not_suffice(tiny_model: Path, tmp_path: Path) -> None:
    greedy = ServeSettings(env={"VLLM_CPU_KVCACHE_SPACE": "9000"}, max_model_len=1024)
    (said,) = await reasons(tiny_model, tmp_path, greedy)
    assert said.startswith("the server for tiny failed to start: there is not enough memory: Available memory on node")
