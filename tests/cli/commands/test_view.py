"""muser view --export: what the file holds, what it leaves out, and what it refuses."""

import json
import os
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from muser.cli.commands.replay import keep_prompt
from muser.store.file.database import Store
from muser.store.records.ledger import calls_of
from muser.store.records.samples import get_trace
from muser.viewer import export
from muser.viewer.export import FIELDS

from ..conftest import Muser


@pytest.fixture
def finished(muser: Muser, recipe: Path) -> Muser:
    assert muser("run", recipe).code == 0
    return muser


def data_of(path: str) -> dict[str, Any]:
    block = re.search(r'id="data">(.*?)</script>', Path(path).read_text(encoding="utf-8"), re.DOTALL)
    assert block
    assert "<" not in block[1]
    loaded: dict[str, Any] = json.loads(block[1])
    return loaded


def test_a_run_is_written_whole_and_gives_back_every_message(finished: Muser) -> None:
    told = finished("view", "small", "--export", "out.html", "--json").json()
    assert (told["samples"], told["left_out"], told["bytes"]) == (4, 0, Path("out.html").stat().st_size)
    data = data_of("out.html")
    with Store.open("muser.db", create=False) as store:
        for row in data["samples"]:
            trace = get_trace(store, row["id"])
            assert data["texts"][row["query"]] == trace.query
            for call, made in zip(row["calls"], calls_of(store, row["id"]), strict=True):
                sent = ["".join(data["texts"][i] for i in rope) for _, *rope in call["messages"]]
                assert sent == [message.content for message in made.messages]


def test_chosen_samples_are_written_alone(finished: Muser) -> None:
    assert finished("view", "q000001", "small/s000002", "--export", "out.html").code == 0
    assert [row["id"] for row in data_of("out.html")["samples"]] == ["small/q000001", "small/s000002"]


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
        "persona": [f'"{trace.persona["completeness"]}"', prompt],
        "query": [trace.query],
        "reasoning": [trace.response.reasoning, trace.refinement.reasoning],
        "answer": [trace.response.answer],
        "critiques": [*(critique.rationale for critique in trace.critiques), trace.refinement.reasoning],
        "refinement": [trace.refinement.answer, trace.refinement.reasoning],
        "calls": [prompt],
    }
    written = json.dumps(data_of("out.html"), ensure_ascii=False)
    for secret in secrets.get(field, []):
        assert secret
        assert json.dumps(secret, ensure_ascii=False)[1:-1] not in written


def test_the_policy_allows_the_files_own_style_and_script_and_nothing_else(finished: Muser) -> None:
    finished("view", "small", "--export", "out.html")
    page = Path("out.html").read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', page)
    assert policy
    allowed = dict(part.strip().split(" ", 1) for part in policy[1].split(";"))
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
    data = data_of("out.html")
    assert 0 < len(data["samples"]) < 4
    assert data["left_out"] == 4 - len(data["samples"])
    assert f"{data['left_out']} more did not fit" in ended.err


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
