"""Another site, open in the browser that has the viewer's cookie, can neither read its pages nor change anything."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from anyio.from_thread import start_blocking_portal

from muser.store.file.database import Store
from muser.store.records.runs import list_runs
from muser.viewer.redirect import redirect_file

# The first test also waits for the runs that all of them share.
pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

# On another port of the same host, so that even a cookie for this site alone is sent along.
EVIL = """<!doctype html><title>evil</title>
<iframe src="{home}/"></iframe><script src="{home}/version"></script><img src="{home}/version">
<form id="form" method="post" target="sink" action="{home}/runs/clinic/samples/s000001/replay">
<input name="role" value="critics.safety"><input name="prompt" value="evil"><input name="form_token" value="x"></form>
<iframe name="sink"></iframe>
<script>
document.getElementById("form").submit();
window.got = [];
for (const path of ["/", "/version", "/runs/clinic/samples/s000001"])
  for (const mode of ["cors", "no-cors"])
    fetch("{home}" + path, {{ mode, credentials: "include" }}).then((r) => r.text())
      .then((text) => window.got.push(text), () => window.got.push(""));
</script>"""


@asynccontextmanager
async def evil_site(home: str) -> AsyncIterator[str]:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text=EVIL.format(home=home), content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


def test_another_site_reads_nothing_and_changes_nothing(viewer: str, store: Path, watch_of: Callable[..., Any]) -> None:
    home = "{0.scheme}://{0.netloc}".format(urlsplit(viewer))
    with Store.open(store, create=False) as opened:
        before = [line.id for line in list_runs(opened)]
    posted: list[int] = []
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(evil_site(home)) as evil,
        watch_of(home) as (page, _),
    ):
        page.goto(viewer)
        assert page.locator("h1").inner_text() == "Runs"
        page.on("response", lambda answer: posted.append(answer.status) if answer.request.method == "POST" else None)
        page.goto(evil)
        page.wait_for_function("window.got && window.got.length === 6")
        assert set(page.evaluate("window.got")) == {""}, json.dumps(page.evaluate("window.got"))[:500]
        assert all("Runs" not in frame.content() for frame in page.frames[1:])
    assert posted == [403]
    with Store.open(store, create=False) as opened:
        assert [line.id for line in list_runs(opened)] == before


def test_the_token_is_asked_for_and_leaves_the_address(viewer: str, watch_of: Callable[..., Any]) -> None:
    home = "{0.scheme}://{0.netloc}".format(urlsplit(viewer))
    with watch_of(home) as (page, _):
        page.goto(home)
        assert "muser view" in page.locator("body").inner_text()
        assert "clinic" not in page.content()
        page.goto(viewer)
        assert page.url == f"{home}/"
        assert page.evaluate("document.cookie") == ""


def test_a_browser_that_opens_the_file_with_the_token_gets_in(viewer: str, watch_of: Callable[..., Any]) -> None:
    home = "{0.scheme}://{0.netloc}".format(urlsplit(viewer))
    with redirect_file(viewer) as address, watch_of(home) as (page, _):
        page.goto(address)
        page.wait_for_url(f"{home}/")
        assert page.locator("h1").inner_text() == "Runs"
