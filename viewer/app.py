"""The viewer's server: what each address shows. It only reads, except for replays from the playground."""

import secrets
import socket
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import parse_qs

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ..core.errors import InputError, MuserError
from ..store.file.database import Store
from ..store.queries.overview import version
from . import pages
from .access import AccessMiddleware, form_token, is_form_token
from .connections import BoundedProtocol
from .heat_map import Expect, heat_map
from .playground import Edit, Playground
from .rendering import HERE, ServedLinks, build_templates
from .scores import Scorer, scores_page

LONGEST_FORM = 1 << 20
"""Most bytes of a form."""

T = TypeVar("T")


def new_token() -> str:
    """A random token of 192 bits."""
    return secrets.token_urlsafe(24)


def build_app(
    store: Store,
    *,
    token: str,
    hosts: Collection[str],
    playground: Playground | None = None,
    compare: pages.Compare | None = None,
    expect: Expect | None = None,
    scorer: Scorer | None = None,
) -> Starlette:
    """The application on an open store.

    `hosts` are the host:port names it answers to. Without `playground` nothing can be changed; `compare` compares the
    two runs of a page, `expect` gives the wanted counts of a heat map, and `scorer` the scores of an evaluation.
    """
    viewer = _Viewer(store, token, playground, compare, expect, scorer)
    routes = [
        Route("/", viewer.runs),
        Route("/version", viewer.version),
        Route("/runs/{run}", viewer.run),
        Route("/runs/{run}/coverage", viewer.coverage),
        Route("/runs/{run}/scores", viewer.scores),
        Route("/runs/{run}/samples", viewer.samples),
        Route("/samples", viewer.samples),
        Route("/runs/{run}/samples/{key:path}/replay", viewer.replay, methods=["POST"]),
        Route("/runs/{run}/samples/{key:path}", viewer.trace),
        Route("/replays/{number:int}", viewer.replayed),
        Route("/compare", viewer.compare),
        Route("/pair", viewer.pair),
        Mount("/static", StaticFiles(directory=HERE / "static")),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(AccessMiddleware, token=token, hosts=hosts)],
        exception_handlers={MuserError: viewer.failed, HTTPException: viewer.failed},
    )


def serve_app(app: Starlette, listener: socket.socket) -> None:
    """Serves it on a socket that is bound, until Ctrl-C or SIGTERM."""
    config = uvicorn.Config(
        app, http=BoundedProtocol, log_level="warning", access_log=False, timeout_graceful_shutdown=2
    )
    uvicorn.Server(config).run(sockets=[listener])


class _Viewer:
    """The handlers of one app."""

    def __init__(
        self,
        store: Store,
        token: str,
        playground: Playground | None,
        compare: pages.Compare | None,
        expect: Expect | None,
        scorer: Scorer | None,
    ) -> None:
        self.store, self.token, self.playground = store, token, playground
        self.comparison, self.expect, self.scorer = compare, expect, scorer
        self.kept: dict[str, tuple[str, pages.RunPage]] = {}
        self.templates = build_templates(store.path.name, ServedLinks())

    async def show(self, template: str, make: Callable[[], Any], status: int = 200) -> Response:
        """The page of what `make` reads, in a thread, so that a slow query blocks no other page."""

        def render() -> str:
            given = make()
            return self.templates.get_template(template).render(page=given, version=version(self.store))

        return HTMLResponse(await run_in_threadpool(render), status)

    async def runs(self, _: Request) -> Response:
        return await self.show("runs.html", lambda: pages.runs_page(self.store))

    async def run(self, request: Request) -> Response:
        return await self.show("run.html", lambda: self._run_page(request.path_params["run"]))

    def _run_page(self, run: str) -> pages.RunPage:
        """A run's page reads all of its samples, so it is cached until the store changes."""
        now = version(self.store)
        found = self.kept.get(run)
        if found is None or found[0] != now:
            found = self.kept[run] = (now, pages.run_page(self.store, run))
        return found[1]

    async def scores(self, request: Request) -> Response:
        run, query = request.path_params["run"], request.query_params
        return await self.show("scores.html", lambda: scores_page(self.store, self.scorer, run, query))

    async def samples(self, request: Request) -> Response:
        run, query = request.path_params.get("run"), request.query_params
        return await self.show("samples.html", lambda: pages.samples_page(self.store, run, query))

    async def coverage(self, request: Request) -> Response:
        run, query = request.path_params["run"], request.query_params
        return await self.show("heat_map.html", lambda: heat_map(self.store, run, query, self.expect))

    async def trace(self, request: Request) -> Response:
        sample = f"{request.path_params['run']}/{request.path_params['key']}"

        def make() -> pages.TracePage:
            found = pages.trace_page(self.store, sample, request.query_params)
            if self.playground is None or not found.can_be_replayed:
                return found
            try:
                play = self.playground.tools.editable(found.trace.run_id)
            except MuserError as error:
                # For example, the run's prompt files are gone; the trace can still be shown.
                return replace(found, not_editable=str(error))
            return replace(found, editable=play[0], models=play[1], form_token=form_token(self.token))

        return await self.show("trace.html", make)

    async def replay(self, request: Request) -> Response:
        if self.playground is None:
            raise InputError("this viewer was started with --read-only")
        form = await _form(request)
        # Another site's page could send this form with the user's cookie; it cannot know the token.
        if not is_form_token(form.get("form_token", ""), self.token):
            return PlainTextResponse("This form did not come from this server.", 403)
        sample = f"{request.path_params['run']}/{request.path_params['key']}"
        # Browsers send a form's line breaks as CRLF (HTML standard), which would change every prompt.
        edit = Edit(sample, form.get("role", ""), form.get("prompt", "").replace("\r\n", "\n"), form.get("model", ""))
        return RedirectResponse(f"/replays/{self.playground.begin(edit)}", 303)

    async def replayed(self, request: Request) -> Response:
        number = request.path_params["number"]
        if self.playground is None or not 0 < number <= len(self.playground.replays):
            raise HTTPException(404, "There is no replay with this number since the viewer started.")
        playground, replay = self.playground, self.playground.replays[number - 1]
        return await self.show("replay.html", lambda: pages.replay_page(self.store, playground, replay))

    async def compare(self, request: Request) -> Response:
        query = request.query_params
        return await self.show("compare.html", lambda: pages.compare_page(self.store, self.comparison, query))

    async def pair(self, request: Request) -> Response:
        query = request.query_params
        return await self.show("pair.html", lambda: pages.pair_page(self.store, query))

    async def version(self, _: Request) -> Response:
        return PlainTextResponse(await run_in_threadpool(version, self.store))

    async def failed(self, _: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404 if "There is no" in str(error) else 400
        said = error.detail if isinstance(error, HTTPException) else str(error)
        return await self.show("error.html", lambda: {"status": status, "said": said}, status)


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > LONGEST_FORM:
            raise HTTPException(413, "This form is too long.")
    return {name: values[-1] for name, values in parse_qs(body.decode("utf-8", "replace"), max_num_fields=20).items()}
