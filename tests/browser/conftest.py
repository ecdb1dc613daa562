"""A store of real runs, some of them hostile, and Debian's Chromium, whose pages are watched for what takes effect."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from anyio.from_thread import start_blocking_portal

from muser.endpoints.simulated.server import simulated_endpoint

from .hostile import QUESTIONS, hostile_endpoint

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
# What the simulated critic of empathy looks for is said, what that of safety looks for is not.
ASKED = {
    "id": "q000001",
    "query": "Is honey good for a cough?",
    "response": {"answer": "I understand that this is hard, and it is right to ask. Honey soothes."},
}
RECIPE = """\
name: {name}
samples: {samples}
queries: {queries}
models:
  main: {{base_url: "{url}", model: {model}, timeout: 20, retries: 0}}
critics:
  decision: {{prompt: decision.md}}
  communication: {{prompt: communication.md}}
  safety: {{prompt: safety.md}}
refine_when: any_revise
repairs: 1
store: muser.db
"""
CROWDED = """\
name: crowded
samples: 1
rounds: 3
models:
  main: {{base_url: "{url}", model: hostile, timeout: 20, retries: 0}}
critics:
{critics}
store: muser.db
"""


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs `hostile`, whose texts are payloads, `crowded`, whose seven critics revise three times, `clinic`, and
    `clinic-fork`: the same under another safety critic.
    """
    folder = tmp_path_factory.mktemp("store")
    asked = enumerate(QUESTIONS, start=1)
    lines = [json.dumps({"id": f"q{number:06d}", "query": query}) + "\n" for number, query in asked]
    (folder / "hostile.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "asked.jsonl").write_text(json.dumps(ASKED), encoding="utf-8")
    shutil.copy(Path(__file__).parents[2] / "recipes" / "empathy.md", folder)
    with start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(hostile_endpoint()) as url:
            _run(folder, RECIPE.format(name="hostile", samples=2, queries="hostile.jsonl", url=url, model="hostile"))
            critics = "".join(f"  {f'critic-{n}-'.ljust(40, 'x')}: {{prompt: empathy.md}}\n" for n in range(7))
            _run(folder, CROWDED.format(url=url, critics=critics))
        with portal.wrap_async_context_manager(simulated_endpoint()) as url:
            _run(folder, RECIPE.format(name="clinic", samples=24, queries="asked.jsonl", url=url, model="simulated"))
            change = "critics.safety.prompt=empathy.md"
            _muser(folder, "replay", "--run", "clinic", "--from", "safety", "--set", change)
    return folder / "muser.db"


def _run(folder: Path, recipe: str) -> None:
    (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")
    _muser(folder, "run", "recipe.yaml")


def _muser(folder: Path, *words: str) -> None:
    # In a process of its own: Playwright keeps an event loop in this thread.
    command = [sys.executable, "-m", "muser", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 3}, done.stderr


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    assert path, "no Chromium on PATH: make test-browser installs it"
    with sync_playwright() as playwright:
        # Chromium's own sandbox wants a user who is not root; what it opens here is our own pages.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def viewer(store: Path) -> Iterator[str]:
    """The address, token and all, of `muser view` over the store; its replays ask a simulated endpoint."""
    command = [sys.executable, "-m", "muser", "view", "--store", str(store), "--port=0", "--no-browser"]
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(simulated_endpoint()) as url:
        command += ["--set", f"models.main.base_url={url}"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
            assert server.stderr
            said = server.stderr.readline()
            try:
                yield said.split(" at ")[-1].strip()
            finally:
                server.terminate()


class Watch:
    """What a context's pages did that no text may bring about; `seen` must stay empty."""

    def __init__(self, context: "BrowserContext", home: str) -> None:
        self.seen: list[str] = []
        self._home = home
        context.on("page", self._follow)
        context.on("request", lambda request: self._check(request.url))
        context.on("console", self._read)
        context.on("weberror", lambda error: self.seen.append(str(error.error)))
        context.on("dialog", self._dismiss)

    def _follow(self, page: "Page") -> None:
        page.on("download", lambda download: self.seen.append(f"download {download.suggested_filename}"))

    def _check(self, url: str) -> None:
        if not url.startswith((self._home, "data:", "blob:", "about:")):
            self.seen.append(f"request {url}")

    def _read(self, message: "ConsoleMessage") -> None:
        if message.type == "error":
            self.seen.append(message.text)

    def _dismiss(self, dialog: "Dialog") -> None:
        self.seen.append(f"dialog {dialog.message}")
        dialog.dismiss()


@pytest.fixture
def watched(browser: "Browser") -> Iterator[Callable[..., "Page"]]:
    """Opens pages that may ask nothing but what starts with `home`; fails where one did, or a dialog or error came."""
    watches: list[Watch] = []
    contexts: list[BrowserContext] = []

    def open_page(home: str, **options: object) -> "Page":
        contexts.append(browser.new_context(**options))
        watches.append(Watch(contexts[-1], home))
        return contexts[-1].new_page()

    yield open_page
    for context in contexts:
        context.close()
    assert [line for watch in watches for line in watch.seen] == []


@pytest.fixture
def watch_of(browser: "Browser") -> "Callable[[str], AbstractContextManager[tuple[Page, Watch]]]":
    """A page with its watch, for what is meant to be seen."""

    @contextmanager
    def open_page(home: str) -> Iterator[tuple["Page", Watch]]:
        context = browser.new_context()
        watch = Watch(context, home)
        yield context.new_page(), watch
        context.close()

    return open_page
