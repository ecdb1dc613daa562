"""endpoints/server/adapters.py over HTTP: what is asked of the server, and what its refusal becomes."""

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from muser.core.errors import ServerError
from muser.endpoints.server.adapters import load_adapter

ADAPTER = Path("/models/lora")


class Loader:
    """Answers as vLLM does with runtime loading."""

    def __init__(self, cards: list[dict[str, Any]], refusal: str = "") -> None:
        self.cards, self.refusal, self.asked = cards, refusal, list[dict[str, Any]]()

    async def answer(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer key"
        if request.path == "/v1/models":
            return web.json_response({"data": self.cards})
        assert request.path == "/v1/load_lora_adapter"
        self.asked.append(json.loads(await request.text()))
        if self.refusal:
            return web.json_response({"error": {"message": self.refusal}}, status=500)
        return web.Response(text="Success")


async def test_an_adapter_is_loaded_under_its_name(serve: Any) -> None:
    loader = Loader([{"id": "student-base", "root": "/models/student"}])
    await load_adapter(await serve(loader.answer), "student-distill", ADAPTER, "key")
    assert loader.asked == [{"lora_name": "student-distill", "lora_path": str(ADAPTER), "load_inplace": True}]


async def test_one_that_is_there_is_left_alone_and_one_of_another_training_replaced(serve: Any) -> None:
    there, other = ({"id": "student-distill", "root": root} for root in (str(ADAPTER), "/models/before"))
    same, changed = Loader([there]), Loader([other])
    await load_adapter(await serve(same.answer), "student-distill", ADAPTER, "key")
    await load_adapter(await serve(changed.answer), "student-distill", ADAPTER, "key")
    assert (len(same.asked), len(changed.asked)) == (0, 1)


async def test_a_refusal_says_what_the_server_said(serve: Any) -> None:
    url = await serve(Loader([], "LoRA rank 64 is greater than max_lora_rank 16").answer)
    with pytest.raises(ServerError, match="rank 64") as refused:
        await load_adapter(url, "student-distill", ADAPTER, "key")
    assert "merged" in refused.value.todo
    with pytest.raises(ServerError, match="could not be loaded"):
        await load_adapter("http://127.0.0.1:9/v1", "student-distill", ADAPTER, "key")
