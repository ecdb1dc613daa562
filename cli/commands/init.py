"""What `muser init` writes: a recipe that ships with muser, and the files it refers to."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from ...core.errors import MuserError, SettingsError, StoreError
from ...core.loading import load_recipe
from ...core.recipe import ModelSettings
from ...core.schema import SCHEMA_FILE, schema_text
from ...endpoints.client.chat import open_endpoints
from ..printing.console import command

RECIPES = Path(__file__).parents[2] / "recipes"
FIRST_LINE = re.compile(r"# muser (run|pipeline) \S+\n")
"""What a recipe begins with: the command that runs it."""


def write_start(folder: Path, name: str, endpoint: str | None) -> Iterator[str]:
    """Writes the recipe and its files; yields what was done and which commands come next.

    Raises SettingsError for an unknown recipe, and if a file exists: nothing is overwritten.
    """
    texts = _texts(name)
    there = [str(folder / file) for file in texts if (folder / file).exists()]
    if there:
        raise SettingsError(
            f"already there, not overwritten: {', '.join(there)}", todo="choose another folder: muser init DIR"
        )
    if endpoint:
        texts["recipe.yaml"], remark = _pointed_at(endpoint, name, texts["recipe.yaml"])
        yield remark
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in texts.items():
            with (folder / file).open("x", encoding="utf-8") as opened:
                opened.write(text)
            yield f"wrote {folder / file}"
    except OSError as error:
        raise StoreError(f"cannot write: {error.strerror}", where=str(error.filename or folder)) from error
    recipe, runs = str(folder / "recipe.yaml"), FIRST_LINE.match(texts["recipe.yaml"])
    run = runs[1] if runs else "run"
    yield f"next: {command('check', recipe)}, then {command(run, recipe)}"


def _texts(name: str) -> dict[str, str]:
    """File name → text, of a recipe that ships with muser and of the files beside it that it names."""
    known = {path.stem: path for path in sorted(RECIPES.glob("*.yaml")) if FIRST_LINE.match(path.read_text("utf-8"))}
    if name not in known:
        raise SettingsError(f"no recipe {name} ships with muser", todo=f"available: {', '.join(known)}")
    text, recipe = known[name].read_text("utf-8"), load_recipe(known[name])
    named = [recipe.queries, recipe.personas, *(critic.prompt for critic in recipe.critics.values())]
    beside = [file for file in named if file and (RECIPES / file).is_file()]
    return {
        "recipe.yaml": text.replace(f"recipes/{name}.yaml", "recipe.yaml"),
        **{file: (RECIPES / file).read_text("utf-8") for file in beside},
        # What the recipe's `$schema` line names, for editors.
        SCHEMA_FILE: schema_text(),
    }


def _pointed_at(endpoint: str, name: str, text: str) -> tuple[str, str]:
    """(the recipe's text with its one endpoint's address and model changed, what to say about it)."""
    names = list(load_recipe(RECIPES / f"{name}.yaml").models)
    if len(names) > 1:
        raise SettingsError(f"recipe {name} has several models: {', '.join(names)}", todo="leave out --endpoint")
    url, model, remark = _ask(endpoint, names[0])
    for key, value in (("base_url", url), ("model", model)):
        before, rest = re.split(rf"(?m)^    {key}: \S+", text, maxsplit=1)
        text = f"{before}    {key}: {json.dumps(value)}{rest}"
    return text, remark


def _ask(endpoint: str, name: str) -> tuple[str, str, str]:
    """(the address, a model it serves, what to say about it)."""
    try:
        settings = ModelSettings(model="unknown", base_url=endpoint, retries=0)
    except ValidationError as error:
        raise SettingsError(f"--endpoint {endpoint}: {error.errors()[0]['msg']}") from error
    url = settings.addresses[0]
    try:
        served = asyncio.run(_served(settings))
    except MuserError as error:
        return url, "unknown", f"set models.{name}.model yourself; the endpoint did not say what it serves:\n{error}"
    if not served:
        return url, "unknown", f"set models.{name}.model yourself; the endpoint lists no model"
    others = f"; it also serves {', '.join(served[1:6])}" if served[1:] else ""
    return url, served[0], f"{url} serves {served[0]}{others}"


async def _served(settings: ModelSettings) -> list[str] | None:
    async with open_endpoints({"main": settings}) as endpoints:
        return await endpoints["main"].served()
