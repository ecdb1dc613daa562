"""Servers for a recipe's models: uses those that `muser serve` keeps up, else starts them and stops them again."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from ..core.errors import ServerError, SettingsError
from ..core.recipe import ModelSettings, Recipe, ServeSettings
from ..endpoints.server import launch as servers
from ..endpoints.server.adapters import load_adapter
from ..endpoints.server.commands import Weights
from ..endpoints.server.launch import Server, serve_model
from ..endpoints.server.registry import Card, announced, running
from ..graph.identity import moved_models
from ..store.file.database import Store
from .models import Place, locate, places_of

KEY = "MUSER_SERVER_KEY"
UNENFORCED = (
    "{} is served by `transformers serve`, which ignores JSON schemas: they go into the prompt (structured: prompt),"
    " and more replies will be unusable; vLLM and llama.cpp enforce schemas"
)
T = TypeVar("T")
OnStart = Callable[[str, str], None]


class StartStopped(asyncio.CancelledError):
    """The user stopped muser before the server was up."""


@dataclass(frozen=True)
class Served:
    """Endpoints and revisions by bound name, as `run_recipe` takes them."""

    models: dict[str, ModelSettings] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)


@asynccontextmanager
async def serving(
    recipe: Recipe,
    store: Store,
    roles: Iterable[str],
    *,
    on_start: OnStart | None = None,
    on_warning: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
) -> AsyncIterator[Served]:
    """Serve each of these roles' models that has no address, for the length of the block.

    Uses a server that `muser serve` keeps up for the recipe; before it starts another, calls `on_start` with name and
    path. Calls `on_warning` for models whose stored calls may be reused although their address changed. Setting `stop`
    during a start raises StartStopped. Raises ServerError if a server does not start, and at the end of the block if
    one died inside it, because that is why calls failed.
    """
    places = [_servable(place) for place in places_of(recipe, store, roles)]
    served = Served(revisions={place.bound: place.revision for place in places if place.revision})
    async with AsyncExitStack() as started:
        for group in _by_server(places):
            card = await _found(recipe, group)
            if card is None:
                if on_start:
                    on_start(group[0].bound, _path(group[0]))
                starting = started.enter_async_context(_started(recipe, group))
                card = await unless_stopped(starting, stop)
            for place in group:
                served.models[place.bound] = _at(card, place)
                if on_warning and card.engine == "transformers" and place.settings.structured != "prompt":
                    on_warning(UNENFORCED.format(place.bound))
        served.models.update({place.bound: place.settings for place in places if place.path is None})
        if on_warning:
            for warning in moved_models(store, recipe, served.models, served.revisions):
                on_warning(warning)
        yield served


@asynccontextmanager
async def kept_up(recipe: Recipe, store: Store, name: str, *, port: int = 0) -> AsyncIterator[tuple[Server, Card]]:
    """Serve a model (NAME or NAME@STAGE) so that other muser processes with this recipe find and use it.

    Raises ServerError, SettingsError, MissingModel.
    """
    place = _servable(locate(recipe, store, name))
    if place.path is None:
        raise SettingsError(
            f"nothing to serve: model {name} has an address, {', '.join(place.settings.addresses)}",
            where=f"models.{place.bound}",
            todo="replace its base_url with serve",
        )
    there = next((card for card in running(_folder(recipe)) if _is_at(card, place)), None)
    if there:
        raise ServerError(
            f"{name} is already served at {there.base_url} by process {there.pid}",
            todo=f"use that server, or stop it: kill {there.pid}",
        )
    key_env = place.settings.api_key_env or (KEY if os.environ.get(KEY) else None)
    weights, log = _weights(recipe, [place], late=bool(key_env)), _log(recipe, place)
    settings = _settings(recipe, place)
    async with serve_model(weights, settings, log=log, port=port, key=_key(key_env)) as server:
        # `transformers serve` requires no key.
        keeps = servers.engine_of(settings, weights.path) != "transformers"
        card = _card(weights, settings, server, key_env if keeps else None)
        with announced(_folder(recipe), card):
            yield server, card


async def unless_stopped(starting: Awaitable[T], stop: asyncio.Event | None) -> T:
    """Await `starting`. If `stop` is set first, cancels it and raises StartStopped."""
    if stop is None:
        return await starting
    work, stopping = asyncio.ensure_future(starting), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([work, stopping], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        raise StartStopped
    finally:
        # Awaited, so that a server that was starting is gone when this returns.
        stopping.cancel()
        if not work.done():
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work


@asynccontextmanager
async def _started(recipe: Recipe, group: list[Place]) -> AsyncIterator[Card]:
    """A server that this process starts, with its own key. Raises ServerError if it died before the block ended."""
    first = group[0]
    key_env = first.settings.api_key_env or KEY
    if key_env == KEY and not os.environ.get(KEY):
        # Worker processes inherit the key through the environment, and it never reaches the store or a log.
        os.environ[KEY] = secrets.token_urlsafe(32)
    weights, settings = _weights(recipe, group), _settings(recipe, first)
    async with serve_model(weights, settings, log=_log(recipe, first), key=_key(key_env)) as server:
        yield _card(weights, settings, server, key_env)
        # The calls that failed with it report only a lost connection; this error has the log's last lines.
        if server.process.returncode is not None:
            raise await server.end()


async def _found(recipe: Recipe, group: list[Place]) -> Card | None:
    """The server that `muser serve` keeps up for these places, after loading the adapters that it lacks."""
    for card in running(_folder(recipe)):
        takes = card.lora_rank is not None and card.path == _path(group[0])
        if not all(_is_at(card, place) or takes for place in group):
            continue
        key = _key(card.key_env)
        for place in group:
            if place.adapter and not _is_at(card, place):
                await load_adapter(card.base_url, place.served_as, place.adapter, key or "")
        return card
    return None


def _at(card: Card, place: Place) -> ModelSettings:
    """The place's settings with the server's address."""
    changed = {"model": place.served_as if place.adapter else card.name, "base_url": card.base_url, "serve": None}
    engines: dict[str, object] = {"data_parallel": card.data_parallel}
    if card.engine == "transformers":
        # It ignores response_format without a word (transformers 5.19).
        engines["structured"] = "prompt"
    return place.settings.model_copy(update=changed | engines | {"api_key_env": card.key_env, "headers_env": {}})


def _is_at(card: Card, place: Place) -> bool:
    """Whether the server already serves this model."""
    is_there = place.adapter is None or card.adapters.get(place.served_as) == str(place.adapter)
    return card.path == _path(place) and is_there


def _servable(place: Place) -> Place:
    """The place without its adapter if its server is not vLLM: only vLLM serves adapters, others the merged model."""
    serves = servers.engine_of(place.settings.serve or ServeSettings(), place.path or "")
    return place if serves == "vllm" else replace(place, adapter=None)


def _settings(recipe: Recipe, place: Place) -> ServeSettings:
    """The model's serve settings, with its program's path resolved from the recipe's folder like all input paths."""
    settings = place.settings.serve or ServeSettings()

    def located(program: str) -> str:
        # absolute(), not resolve(): python finds its virtual environment through the link bin/python (PEP 405).
        return str((recipe.folder / Path(program).expanduser()).absolute()) if "/" in program else program

    if settings.python:
        return settings.model_copy(update={"python": located(settings.python)})
    if settings.command:
        return settings.model_copy(update={"command": [located(settings.command[0]), *settings.command[1:]]})
    return settings


def _by_server(places: Iterable[Place]) -> Iterator[list[Place]]:
    """Groups of places without an address that can share a server: a base, then adapters on it."""
    groups: dict[str, list[Place]] = {}
    for place in places:
        if place.path is not None:
            groups.setdefault(_path(place), []).append(place)
    for group in groups.values():
        yield sorted(group, key=lambda place: place.adapter is not None)


def _weights(recipe: Recipe, group: list[Place], *, late: bool = False) -> Weights:
    """What one server loads for these places; `late` allows adapters to be loaded while it runs."""
    first = group[0]
    tuned = {place.served_as: place.adapter for place in group if place.adapter}
    name = first.served_as if first.adapter is None else f"{first.served_as}-base"
    takes = first.settings.serve is not None and first.settings.serve.weights == "adapter"
    rank = recipe.training.lora.r if recipe.training and takes and late else None
    return Weights(name, _path(first), tuned, rank)


def _card(weights: Weights, settings: ServeSettings, server: Server, key_env: str | None) -> Card:
    engine = servers.engine_of(settings, weights.path)
    if engine is None:
        raise LookupError("a server runs, but no engine is installed")
    return Card(
        name=weights.name,
        path=weights.path,
        base_url=server.url,
        adapters={name: str(path) for name, path in weights.adapters.items()},
        lora_rank=weights.lora_rank,
        key_env=key_env,
        data_parallel=settings.data_parallel if engine == "vllm" else 1,
        engine=engine,
        pid=os.getpid(),
    )


def _path(place: Place) -> str:
    """The resolved folder, so that the same model always has the same path; a hub name unchanged."""
    path = (place.base if place.adapter else place.path) or ""
    return str(Path(path).resolve()) if Path(path).is_dir() else path


def _key(variable: str | None) -> str | None:
    """Raises SettingsError if the variable is not set."""
    if variable is None:
        return None
    if not os.environ.get(variable):
        raise SettingsError(
            f"no key in the environment: {variable}",
            todo="export the variable with the key that the server was started with",
        )
    return os.environ[variable]


def _log(recipe: Recipe, place: Place) -> Path:
    return Path(recipe.output) / "logs" / f"{place.served_as}.log"


def _folder(recipe: Recipe) -> Path:
    return Path(recipe.output) / "servers"
