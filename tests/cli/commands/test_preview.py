"""`muser preview`: the first samples of a recipe, in a run of their own."""

from pathlib import Path

from ..conftest import QUESTIONS, Muser, write_recipe


def test_a_preview_shows_the_first_samples_and_the_run_asks_nothing_of_them_again(muser: Muser, recipe: Path) -> None:
    ended = muser("preview", recipe, "-n", 3)
    assert ended.code == 0
    for part in ("small-preview/s000001 · done", "small-preview/s000002", "small-preview/q000001", QUESTIONS[0]):
        assert part in ended.out
    assert "q000002" not in ended.out
    assert max(len(line) for line in ended.out.splitlines()) <= 80
    assert f"reuses their calls: muser run {recipe}" in ended.err
    summary = muser("run", recipe, "--json").json()
    assert (summary["run_id"], summary["total"]) == ("small", 4)
    calls = {line["role"]: (line["calls"], line["reused"]) for line in summary["usage"]}
    assert calls == {
        "persona": (0, 2), "responder": (1, 3), "critics.decision": (1, 3), "critics.safety": (1, 3), "refiner": (1, 3),
    }  # fmt: skip


def test_a_preview_again_costs_nothing_and_one_of_a_changed_recipe_stands_beside_it(muser: Muser, recipe: Path) -> None:
    first = muser("preview", recipe, "-n", 1, "--json").json()
    assert [trace["id"] for trace in first] == ["small-preview/s000001"]
    assert len(first[0]["calls"]) == 5
    assert muser("preview", recipe, "-n", 1, "--json").json() == first
    (changed,) = muser(
        "preview", recipe, "-n", 1, "--set", "roles={refiner: {model: main, temperature: 0.1}}", "--json"
    ).json()
    assert changed["id"] == "small-preview-2/s000001"
    assert [call["reused_from"] is None for call in changed["calls"]] == [False, False, False, False, True]


def test_a_preview_of_fewer_samples_shows_no_more(muser: Muser, recipe: Path) -> None:
    assert len(muser("preview", recipe, "--samples", 3, "--json").json()) == 3
    assert len(muser("preview", recipe, "--samples", 1, "--json").json()) == 1


def test_a_preview_of_changed_questions_shows_the_new_ones(muser: Muser, recipe: Path, tmp_path: Path) -> None:
    old = muser("preview", recipe, "-n", 1, "--set", "samples=0", "--json").json()
    (tmp_path / "questions.jsonl").write_text('{"query": "Is it new?"}\n')
    new = muser("preview", recipe, "-n", 1, "--set", "samples=0", "--json").json()
    assert (old[0]["query"], new[0]["query"]) == (QUESTIONS[0], "Is it new?")


def test_a_preview_without_an_endpoint_says_so(muser: Muser, tmp_path: Path) -> None:
    ended = muser("preview", write_recipe(tmp_path, "http://127.0.0.1:9/v1"))
    assert ended.code == 4
    assert "cannot reach the server" in ended.err


def test_failed_samples_are_shown_and_tried_again(muser: Muser, recipe: Path) -> None:
    short = ("--set", "models.main.max_tokens=3", "--set", "repairs=0", "--set", "samples=0")
    ended = muser("preview", recipe, "-n", 1, *short)
    assert ended.code == 3
    assert "small-preview/q000001 · failed" in ended.out
    assert "retried 1 time" in muser("preview", recipe, "-n", 1, *short).out
