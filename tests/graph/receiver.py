"""An HTTP server of the test's own, in place of a tracing collector or LangSmith."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from aiohttp import web
from anyio.from_thread import start_blocking_portal


@contextmanager
def receiver(*routes: web.RouteDef) -> Iterator[str]:
    """The address of a server with these routes. It runs in a thread, because exporters send from one that blocks."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(_serve(routes)) as address:
        yield address


@asynccontextmanager
async def _serve(routes: tuple[web.RouteDef, ...]) -> AsyncIterator[str]:
    app = web.Application(client_max_size=2**26)
    app.add_routes(routes)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
