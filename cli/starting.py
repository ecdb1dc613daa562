"""What `muser init` writes: a recipe with comments and a file of questions, copied from those that ship with muser."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from ..core.errors import MuserError, SettingsError, StoreError
from ..core.recipe import ModelSettings
from ..endpoints.chat import open_endpoints

RECIPES = Path(__file__).parent.parent / "recipes"
SHIPPED = {"recipe.yaml": "init.yaml", "questions.jsonl": "questions.jsonl"}
ADDRESS, MODEL = "base_url: http://127.0.0.1:8000/v1", "model: Qwen/Qwen3-8B"


def write_start(folder: Path, endpoint: str | None) -> Iterator[str]:
    """Writes the files and says what was done. Raises SettingsError rather than overwrite anything."""
    there = [str(folder / name) for name in SHIPPED if (folder / name).exists()]
    if there:
        raise SettingsError(f"not overwritten: {', '.join(there)}", todo="name another folder: muser init DIR")
    texts = {name: (RECIPES / source).read_text(encoding="utf-8") for name, source in SHIPPED.items()}
    if endpoint:
        url, model, remark = _ask(endpoint)
        for default, given in ((ADDRESS, f"base_url: {json.dumps(url)}"), (MODEL, f"model: {json.dumps(model)}")):
            texts["recipe.yaml"] = texts["recipe.yaml"].replace(default, given)
        yield remark
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write(text)
            yield f"wrote {folder / name}"
    except OSError as error:
        raise StoreError(f"cannot write there: {error.strerror}", where=str(error.filename or folder)) from error


def _ask(endpoint: str) -> tuple[str, str, str]:
    """(the address, a model it serves, what to say about it)."""
    try:
        settings = ModelSettings(model="unknown", base_url=endpoint, retries=0)
    except ValidationError as error:
        raise SettingsError(f"--endpoint {endpoint}: {error.errors()[0]['msg']}") from error
    url = settings.addresses[0]
    try:
        served = asyncio.run(_served(settings))
    except MuserError as error:
        return url, "unknown", f"set models.main.model yourself; the endpoint did not say what it serves:\n{error}"
    if not served:
        return url, "unknown", "set models.main.model yourself; the endpoint lists no model"
    others = f"; it also serves {', '.join(served[1:6])}" if served[1:] else ""
    return url, served[0], f"{url} serves {served[0]}{others}"


async def _served(settings: ModelSettings) -> list[str] | None:
    async with open_endpoints({"main": settings}) as endpoints:
        return await endpoints["main"].served()
