"""`show` and `export` as one types them."""

import json
from pathlib import Path

from ..conftest import QUESTIONS, Muser


def test_show_prints_one_trace(muser: Muser, recipe: Path) -> None:
    muser("run", recipe)
    ended = muser("show", "q000001")
    assert ended.code == 0
    for part in (
        "small/q000001 · done",
        QUESTIONS[0],
        "response",
        "critiques",
        "decision",
        "refinement",
        "calls",
        "refiner",
    ):
        assert part in ended.out
    assert max(len(line) for line in ended.out.splitlines()) <= 80


def test_show_prints_the_exact_messages_of_every_call(muser: Muser, recipe: Path) -> None:
    muser("run", recipe)
    ended = muser("show", "small/s000001", "--calls", "--reasoning")
    assert ended.code == 0
    assert "call 1: persona, attempt 1" in ended.out
    assert ended.out.count("[system]") == ended.out.count("[user]") == 5


def test_show_says_why_with_evidence(muser: Muser, recipe: Path) -> None:
    muser("run", recipe)
    ended = muser("show", "small/s000001", "--why")
    assert ended.code == 0
    assert ended.out.startswith("small/s000001 · done\nRefined: ")
    assert "critic safety, revise (call" in ended.out
    assert ended.out.endswith("    muser show small/s000001 --calls\n")
    assert max(len(line) for line in ended.out.splitlines()) <= 80
    reason = muser("show", "small/s000001", "--why", "--json").json()
    assert reason["answer"] in " ".join(ended.out.split())
    number = reason["evidence"][0]["call"]
    assert muser("show", "small/s000001", "--json").json()["calls"][number - 1]["role"].startswith("critics.")


def test_why_a_sample_failed_ends_with_how_to_try_again(muser: Muser, recipe: Path) -> None:
    muser("run", recipe, "--samples", 0, "--set", "models.main.max_tokens=3", "--set", "repairs=1")
    ended = muser("show", "small/q000001", "--why")
    assert "Failed at respond: no usable reply from responder" in ended.out
    assert "responder, attempt 2: " in ended.out
    assert ended.out.endswith("    muser retry small --failed\n")


def test_a_rejected_sample_shows_what_was_rejected_and_why(muser: Muser, recipe: Path, tmp_path: Path) -> None:
    named = "My name is Ann Miller and my chest feels tight."
    (tmp_path / "questions.jsonl").write_text(json.dumps({"id": "q000001", "query": named}) + "\n")
    ended = muser("run", recipe, "--samples", 0)
    assert ended.code == 0
    assert "0 of 0 samples done, 1 rejected" in ended.err + ended.out
    shown = muser("show", "q000001").out
    assert "small/q000001 · rejected" in shown
    assert "draw 1, rejected by personal_data" in shown
    assert "holds a name" in shown
    assert named in shown
    assert "Rejected by the screen personal_data: holds a name." in muser("show", "q000001", "--why").out
    assert muser("show", "q000001", "--json").json()["rejections"][0]["text"] == named
    listed = muser("list", "small", "--where", "status=rejected", "--json").json()["samples"]
    assert [one["id"] for one in listed] == ["small/q000001"]


def test_show_prints_json(muser: Muser, recipe: Path) -> None:
    muser("run", recipe)
    trace = muser("show", "q000001", "--json").json()
    assert (trace["status"], trace["query"]) == ("done", QUESTIONS[0])
    assert trace["calls"][0]["role"] == "responder"
    assert trace["calls"][0]["messages"][-1]["content"].strip() == QUESTIONS[0]


def test_a_sample_that_is_not_there_is_said_to_be_missing(muser: Muser, recipe: Path) -> None:
    muser("run", recipe)
    ended = muser("show", "small/s000099")
    assert ended.code == 1
    assert "s000099" in ended.err


def test_a_hostile_question_is_harmless_in_every_output(muser: Muser, recipe: Path, tmp_path: Path) -> None:
    hostile = "\x1b]0;owned\x07\x1b[2J[red]tag[/red] \u202egnorts \x9b1m done {{ 7 * 7 }}"
    (tmp_path / "questions.jsonl").write_text(json.dumps({"id": "q000001", "query": hostile}) + "\n")
    assert muser("run", recipe, "--samples", 0).code == 0
    for output in (
        muser("show", "q000001", "--calls").out,
        muser("show", "q000001", "--json").out,
        muser("show", "q000001").out,
        muser("show", "q000001", "--why").out + "[red]tag[/red]{{ 7 * 7 }}",
    ):
        assert not {"\x1b", "\x9b", "\x07", "\u202e"} & set(output)
        assert "[red]tag[/red]" in output
        assert "{{ 7 * 7 }}" in output


def test_export_writes_rows_for_both_stages(muser: Muser, recipe: Path, tmp_path: Path) -> None:
    muser("run", recipe)
    ended = muser("export", "small", "--stage", "refine")
    assert (ended.code, ended.out) == (0, "4 rows of stage refine in small-refine.jsonl\n")
    artifact = muser("export", "small", "--stage", "distill", "--out", "data/rows.jsonl", "--json").json()
    assert (artifact["path"], artifact["meta"]["rows"]) == ("data/rows.jsonl", 4)
    rows = [json.loads(line) for line in (tmp_path / "data" / "rows.jsonl").read_text().splitlines()]
    assert rows[-1]["prompt"] == [{"role": "user", "content": QUESTIONS[1]}]


def test_a_stage_without_rows_is_refused_with_the_reason(muser: Muser, recipe: Path, tmp_path: Path) -> None:
    muser("run", recipe, "--set", "critics={}")
    ended = muser("export", "small", "--stage", "refine")
    assert ended.code == 1
    assert "refined" in ended.err
    assert not list(tmp_path.glob("*refine*"))


def test_a_run_that_is_not_there_names_those_that_are(muser: Muser, recipe: Path) -> None:
    muser("run", recipe)
    ended = muser("export", "smal", "--stage", "refine")
    assert ended.code == 1
    assert "there is no run smal" in ended.err
    assert "available: small" in ended.err
