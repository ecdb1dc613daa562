"""muser view --export: what the file holds, what it leaves out, and what it refuses."""

import os
import re
import shutil
from base64 import b64encode
from hashlib import sha256
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from muser.cli.commands.replay import keep_prompt
from muser.store.file.database import Store
from muser.store.queries.reasons import explain
from muser.store.records.ledger import calls_of
from muser.store.records.samples import get_trace
from muser.viewer import export
from muser.viewer.redaction import FIELDS

from ..conftest import Muser


@pytest.fixture
def finished(muser: Muser, recipe: Path) -> Muser:
    assert muser("run", recipe).code == 0
    return muser


def page_of(path: str) -> str:
    """The file with what is escaped in it as it was."""
    return unescape(Path(path).read_text(encoding="utf-8"))


def pages_of(path: str) -> list[str]:
    return re.findall('<template data-page="(.*?)"', page_of(path))


def test_a_run_is_written_whole_on_the_pages_of_the_viewer(finished: Muser) -> None:
    told = finished("view", "small", "--export", "out.html", "--json").json()
    assert (told["samples"], told["left_out"], told["bytes"]) == (4, 0, Path("out.html").stat().st_size)
    page = page_of("out.html")
    assert page.count("<h2>Funnel</h2>") == 1
    with Store.open("muser.db", create=False) as store:
        for sample in pages_of("out.html")[:-1]:
            assert explain(store, sample).answer in page
            assert str(get_trace(store, sample).query) in page
            for call in calls_of(store, sample):
                assert all(message.content in page for message in call.messages)
                assert call.reply.text in page


def test_chosen_samples_are_written_alone_with_the_page_of_their_run(finished: Muser) -> None:
    assert finished("view", "q000001", "small/s000002", "--export", "out.html").code == 0
    assert pages_of("out.html") == ["small/q000001", "small/s000002", "small"]


def test_two_runs_are_compared_and_links_lead_only_to_pages_of_the_file(finished: Muser) -> None:
    shutil.copy(Path(__file__).parents[3] / "recipes" / "empathy.md", ".")
    finished("replay", "--run", "small", "--from", "safety", "--set", "critics.safety.prompt=empathy.md")
    assert finished("view", "small", "small-fork", "--export", "out.html").code == 0
    pages = pages_of("out.html")
    runs, compared, pairs = pages[8:10], pages[10], pages[11:]
    assert (runs, compared) == (["small", "small-fork"], "small=small-fork")
    assert pairs
    assert {tuple(pages.index(sample) for sample in pair.split("=")) for pair in pairs} <= {
        (n, n + 4) for n in range(4)
    }
    links = re.findall('href="(.*?)"', page_of("out.html"))
    inside = {unquote(link.removeprefix("#/")) for link in links if link.startswith("#/")}
    assert inside == {"", *pages}
    assert {link[:1] for link in links} == {"#", "d"}, "d as in data:"


def test_what_only_a_server_can_do_and_the_machines_own_paths_are_left_out(finished: Muser) -> None:
    finished("export", "small", "--stage", "distill", "--out", "rows.jsonl")
    finished("view", "small", "--export", "out.html")
    page = page_of("out.html")
    assert "127.0.0.1" not in page
    assert str(Path.cwd()) not in page
    for word in ("Playground", "Checkpoints", "Derived artifacts", "curl", "<form", "muser.db-prompts"):
        assert word not in page.replace('<form method="dialog">', ""), word


def test_a_file_that_exists_is_not_written_over_unless_told(finished: Muser) -> None:
    Path("out.html").write_text("mine")
    refused = finished("view", "small", "--export", "out.html")
    assert (refused.code, Path("out.html").read_text()) == (1, "mine")
    assert "--force" in refused.err
    assert finished("view", "small", "--export", "out.html", "--force").code == 0
    assert [path.name for path in Path().glob("*out.html*")] == ["out.html"]


@pytest.mark.parametrize("field", FIELDS)
def test_a_redacted_field_is_nowhere_in_the_file(field: str, finished: Muser) -> None:
    assert finished("view", "small/s000001", "--export", "out.html", "--redact", field).code == 0
    with Store.open("muser.db", create=False) as store:
        trace = get_trace(store, "small/s000001")
        prompt = calls_of(store, "small/s000001")[0].messages[-1].content
    assert trace.persona
    assert trace.response
    assert trace.refinement
    secrets: dict[str, list[str | None]] = {
        "persona": [f"<dd>{trace.persona['completeness']}</dd>", f">{trace.persona['completeness']}</td>", prompt],
        "query": [trace.query],
        "reasoning": [trace.response.reasoning, trace.refinement.reasoning],
        "answer": [trace.response.answer],
        "critiques": [*(critique.rationale for critique in trace.critiques), trace.refinement.reasoning],
        "refinement": [trace.refinement.answer, trace.refinement.reasoning],
        "calls": [prompt],
    }
    written = page_of("out.html")
    for secret in secrets.get(field, []):
        assert secret
        assert secret not in written


def test_the_policy_allows_the_files_own_style_and_script_and_nothing_else(finished: Muser) -> None:
    finished("view", "small", "--export", "out.html")
    page = Path("out.html").read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', page)
    assert policy
    allowed = dict(part.strip().split(" ", 1) for part in unescape(policy[1]).split(";"))
    assert allowed["default-src"] == "'none'"
    for tag, name in (("style", "style-src"), ("script", "script-src")):
        inside = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert inside
        assert allowed[name] == f"'sha256-{b64encode(sha256(inside[1].encode()).digest()).decode()}'"


def test_a_file_has_a_largest_size_and_says_what_found_no_room(
    finished: Muser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "MOST", 5000)
    ended = finished("view", "small", "--export", "out.html")
    assert pages_of("out.html") == ["small/s000001", "small"]
    assert "3 more did not fit" in ended.err
    assert "3 more samples did not fit" in page_of("out.html")


def test_wrong_names_and_fields_say_what_there_is(finished: Muser) -> None:
    assert "no sample 'nothing'" in finished("view", "nothing", "--export", "out.html").err
    assert "persona, query" in finished("view", "small", "--export", "o.html", "--redact", "querry").err
    assert finished("view", "small", "--export", "no/such/folder.html").code == 1
    assert not Path("out.html").exists()


def test_what_muser_writes_is_its_owners_alone_whatever_the_umask_allows(muser: Muser, recipe: Path) -> None:
    given = {path.name for path in Path().iterdir()}
    before = os.umask(0)
    try:
        assert muser("run", recipe).code == 0
        muser("export", "small", "--stage", "distill", "--out", "rows.jsonl")
        muser("view", "small", "--export", "out.html")
        muser("db", "backup", "copy.db")
        with Store.open("muser.db") as store:
            keep_prompt(store, "safety", "Be careful.")
            beside = [path for path in Path().rglob("*") if path.is_file() and path.name not in given]
            # The store's -shm file goes when the store is closed.
            modes = {str(path): path.stat().st_mode & 0o077 for path in beside}
    finally:
        os.umask(before)
    assert {path.name for path in beside} >= {"muser.db", "rows.jsonl", "out.html", "copy.db"}
    assert not any(modes.values()), modes


def test_the_token_stands_in_a_file_of_ones_own_and_in_no_command_line(
    finished: Muser, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    pages: list[tuple[int, str]] = []

    def open_page(url: str) -> None:
        path = Path(unquote(urlsplit(url).path))
        opened.append(url)
        pages.append((path.stat().st_mode & 0o777, path.read_text(encoding="utf-8")))

    monkeypatch.setattr("webbrowser.open", open_page)
    monkeypatch.setattr("muser.viewer.app.serve_app", lambda app, listener: None)
    said = finished("view", "--port", 0).err
    token = re.search(r"token=([\w-]+)", said)
    assert token
    assert opened[0].startswith("file:///")
    assert token[1] not in opened[0]
    assert pages[0][0] == 0o600
    assert f"?token={token[1]}" in pages[0][1]
    assert not Path(unquote(urlsplit(opened[0]).path)).exists(), "it goes with the server"
