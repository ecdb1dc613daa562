"""`muser critics`: accounts of a run's critics, which the pages show too."""

from html import unescape
from pathlib import Path

from starlette.testclient import TestClient

from muser.store.file.database import Store
from muser.viewer.app import build_app

from ..conftest import Muser


def test_what_the_critics_did_is_printed_and_on_the_runs_page(muser: Muser, recipe: Path) -> None:
    muser("run", recipe, "--samples", 20)
    shown = muser("critics", "small")
    assert shown.code == 0
    assert max(map(len, shown.out.splitlines())) <= 80
    for title in ("verdicts on first answers", "from plan to answer", "revise, by vagueness"):
        assert title in shown.out
    assert "asked again" not in shown.out
    found = muser("critics", "small", "--json").json()
    decision, safety = found["critics"]
    assert (decision["critic"], safety["critic"], safety["first"]["answers"]) == ("decision", "safety", 22)
    assert sum(one["answers"] for one in safety["by"]["identity"].values()) == 20
    assert safety["from_plan"] > safety["by_chance"]
    with Store.open("muser.db", create=False) as store:
        page = unescape(TestClient(build_app(store, token="t", hosts={"testserver"})).get("/runs/small?token=t").text)
    assert "From plan to answer" in page
    assert "words added if revise" in page


def test_critics_are_asked_again_and_about_planted_faults_once(muser: Muser, recipe: Path) -> None:
    muser("run", recipe)
    found = muser("critics", "small", "--reask", 2, "--planted", "--json").json()
    assert {(one["critic"], one["asked_again"]) for one in found["stability"]} == {("decision", 8), ("safety", 8)}
    assert [(one["critic"], one["facet"], one["faults"]) for one in found["planted"]] == [
        ("decision", "decision", 12),
        ("safety", "safety", 12),
    ]
    before = Path("muser.db").stat().st_mtime_ns
    again = muser("critics", "small")
    assert "asked again" in again.out
    assert "planted faults" in again.out
    assert Path("muser.db").stat().st_mtime_ns == before
    assert {line["id"] for line in muser("runs", "--json").json()} == {"small", "small-reask", "small-planted"}


def test_a_run_without_critiques_says_so(muser: Muser, recipe: Path) -> None:
    muser("run", recipe, "--set", "critics.decision=null", "--set", "critics.safety=null")
    ended = muser("critics", "small")
    assert (ended.code, ended.out) == (0, "")
    assert "no finished sample of small was criticised" in ended.err
