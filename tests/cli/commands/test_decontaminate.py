"""`decontaminate` as one types it."""

import json
from pathlib import Path

import pytest

from muser.store.file.database import Store
from muser.store.records.artifacts import list_artifacts

from ..conftest import Muser

OTHER = "Which vaccines does a nurse need before working in a tropical hospital?"


@pytest.fixture
def run(muser: Muser, recipe: Path) -> str:
    """A finished run; its first query."""
    muser("run", recipe)
    return str(muser("show", muser("list", "small", "--json").json()["samples"][0]["id"], "--json").json()["query"])


def benchmark(path: Path, *prompts: str) -> Path:
    path.write_text("".join(json.dumps({"prompt": [{"role": "user", "content": text}]}) + "\n" for text in prompts))
    return path


def test_copies_are_shown_beside_their_original_and_fail_until_they_are_allowed(
    muser: Muser, run: str, tmp_path: Path
) -> None:
    file = benchmark(tmp_path / "bench.jsonl", OTHER, run)
    ended = muser("decontaminate", "small", "--against", "bench.jsonl")
    assert ended.code == 3
    for part in ("compared with 2 of bench.jsonl", "ngrams", "small/", "query", "bench.jsonl:2 prompt"):
        assert part in ended.out
    assert max(len(line) for line in ended.out.splitlines()) <= 80
    found = muser("decontaminate", "small", "--against", file, "--json").json()
    assert found["matches"][0]["nets"]["ngrams"] == 1
    Path("allowed.txt").write_text("\n".join(match["hash"] for match in found["matches"]))
    again = muser("decontaminate", "small", "--against", file, "--allow", "allowed.txt")
    assert again.code == 0
    assert f"0 matches, {len(found['matches'])} allowed" in again.out


def test_the_result_is_recorded_with_the_run_and_with_the_rows(muser: Muser, run: str, tmp_path: Path) -> None:
    file = benchmark(tmp_path / "bench.jsonl", OTHER)
    muser("export", "small", "--stage", "refine", "--out", "rows.jsonl")
    assert muser("decontaminate", "small", "--against", file).code == 0
    assert muser("decontaminate", "rows.jsonl", "--against", file).code == 0
    with Store.open("muser.db") as store:
        rows, *made = list_artifacts(store)
    assert [(one.kind, one.name, one.run_id) for one in made] == [
        ("decontamination", "small", "small"),
        ("decontamination", "rows.jsonl", None),
    ]
    assert made[1].digest == rows.digest
    assert made[0].meta["matches"] == 0


def test_rows_are_compared_without_a_store(muser: Muser, tmp_path: Path) -> None:
    row = {"prompt": [{"role": "user", "content": OTHER}], "completion": [{"role": "assistant", "content": "Several."}]}
    Path("rows.jsonl").write_text(json.dumps(row) + "\n")
    ended = muser("decontaminate", "rows.jsonl", "--against", benchmark(tmp_path / "bench.jsonl", OTHER), "--json")
    assert [match["where"] for match in ended.json()["matches"]] == ["rows.jsonl:1"]
    assert not Path("muser.db").exists()


def test_the_self_test_prints_recall_and_precision_of_each_net(muser: Muser, run: str, tmp_path: Path) -> None:
    file = benchmark(tmp_path / "bench.jsonl", OTHER, "Can my daughter swim in the sea with a perforated ear drum?")
    ended = muser("decontaminate", "small", "--against", file, "--self-test")
    assert ended.code == 0
    for part in ("2 copies of each kind", "verbatim", "translated", "embeddings", "recall", "100.0%"):
        assert part in ended.out
    scores = muser("decontaminate", "small", "--against", file, "--self-test", "--json").json()
    assert {score["net"] for score in scores} == {"ngrams", "fuzzy", "embeddings", "any"}


def test_what_is_neither_a_run_nor_a_row_is_an_error(muser: Muser, run: str, tmp_path: Path) -> None:
    file = benchmark(tmp_path / "bench.jsonl", OTHER)
    assert "there is no run smal" in muser("decontaminate", "smal", "--against", file).err
    ended = muser("decontaminate", file, "--against", file)
    assert ended.code == 1
    assert "not a training row: the field 'completion' is missing" in ended.err
