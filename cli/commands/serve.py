"""`muser serve`: serves a recipe's model in the foreground, for all commands on that recipe."""

from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option

from ..loading import existing_store
from ..options import Json, RecipeFile, RecipeStore, Set
from ..printing.console import elapsed, print_json, say

if TYPE_CHECKING:
    import asyncio

    from ...core.recipe import Recipe
    from ...endpoints.server.launch import Server
    from ...endpoints.server.registry import Card
    from ...store.file.database import Store

IN_PROMPT = "transformers serve ignores JSON schemas, so muser puts them into the prompt (structured: prompt)."
USED = "Other muser commands on this recipe use it instead of starting one."
OPEN = "It needs no key, so every user of this machine can use it. To require one, set MUSER_SERVER_KEY here and there."


def serve(
    recipe: RecipeFile,
    model: Annotated[
        str | None,
        Argument(metavar="MODEL", help="Its name under models, such as student@distill; default: the only one."),
    ] = None,
    port: Annotated[int, Option(min=0, max=65535, metavar="N", help="Port; 0 picks a free one.")] = 0,
    change: Set = None,
    store: RecipeStore = None,
    json: Json = False,
) -> None:
    """Serve a model of a recipe until Ctrl-C.

    The server gets the flags that muser relies on and those of the model's serve section. It listens on this machine
    only and logs to the recipe's output folder.
    """
    from ..interrupts import Stopped, run_stoppable
    from ..loading import load_with
    from ..printing.summaries import Code

    settings, _ = load_with(recipe, change, store)
    name = model or _only_model(settings)
    _check_name(settings, name)

    async def work(stop: "asyncio.Event") -> None:
        with existing_store(settings) as opened:
            await _serve_until(settings, opened, name, port, json=json, stop=stop)

    try:
        run_stoppable(work, lambda: say("stopping the server; press Ctrl-C again to exit without waiting"))
    except Stopped:
        raise Exit(Code.INTERRUPTED) from None


async def _serve_until(
    settings: "Recipe", store: "Store", name: str, port: int, *, json: bool, stop: "asyncio.Event"
) -> None:
    """Serves until `stop` is set. Raises ServerError if the server ends before that."""
    import asyncio
    import time
    from contextlib import AsyncExitStack

    from ...pipeline.servers import kept_up, unless_stopped

    async with AsyncExitStack() as stack:
        say(f"starting a server for {name}, which may take minutes ...")
        with elapsed():
            starting = stack.enter_async_context(kept_up(settings, store, name, port=port))
            server, card = await unless_stopped(starting, stop)
        _announce(name, server, card, json=json)
        ended, stopping = asyncio.create_task(server.end()), asyncio.create_task(stop.wait())
        await asyncio.wait([ended, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if ended.done():
            raise ended.result()
        ended.cancel()
        began = time.monotonic()
    say(f"stopped in {time.monotonic() - began:.1f} s; log: {server.log}")


def _announce(name: str, server: "Server", card: "Card", *, json: bool) -> None:
    import sys
    from json import dumps

    if json:
        from ..outputs import ServedModel

        served = ServedModel(**vars(card), log=str(server.log), seconds=round(server.seconds, 1))
        print_json(served.model_dump(mode="json"))
    else:
        key = f", api_key_env: {card.key_env}" if card.key_env else ""
        model = next(iter(card.adapters), card.name)
        engines = f", data_parallel: {card.data_parallel}" if card.data_parallel > 1 else ""
        engines += ", structured: prompt" if card.engine == "transformers" else ""
        line = f"  {name.partition('@')[0]}: {{base_url: {dumps(card.base_url)}, model: {model}{key}{engines}}}"
        sys.stdout.write(f"{card.base_url}\n\nmodels:\n{line}\n")
    sys.stdout.flush()
    say(f"{name} is up after {server.seconds:.1f} s; log: {server.log}")
    if card.engine == "transformers":
        say(IN_PROMPT)
    say(USED if card.key_env else f"{USED} {OPEN}")
    say("Ctrl-C stops it.")


def _only_model(settings: "Recipe") -> str:
    from ...core.errors import SettingsError

    trained = settings.training.model if settings.training else ""
    names = [name for name, model in settings.models.items() if model.serve or (name == trained and not model.base_url)]
    if len(names) == 1:
        return names[0]
    if not names:
        raise SettingsError("every model of this recipe has an address, so there is nothing to serve")
    raise SettingsError("name the model to serve", todo=f"available: {', '.join(names)}")


def _check_name(settings: "Recipe", name: str) -> None:
    """Raises SettingsError for an unknown model or stage."""
    from typing import get_args

    from ...core.errors import SettingsError
    from ...core.problems import suggestion
    from ...core.types import Stage

    model, _, stage = name.partition("@")
    if model not in settings.models:
        raise SettingsError(
            f"there is no model {model}{suggestion(model, settings.models)}",
            todo=f"available: {', '.join(settings.models)}",
        )
    if stage and stage not in get_args(Stage):
        raise SettingsError(f"there is no stage {stage}", todo=f"available: {', '.join(get_args(Stage))}")
    if stage and (settings.training is None or settings.training.model != model):
        raise SettingsError(f"{model} has no stages, since training.model is not {model}")
