"""`muser coverage`: what is wanted and achieved, and how diverse the queries are."""

import re
from pathlib import Path

from ..conftest import Muser, write_recipe

TABLE = """\
attributes:
  identity: {values: {parent: , nurse: }}
  region: {values: {Kenya: }}
  condition: {values: {flu: , burn: }}
"""


def test_a_run_is_measured_against_its_tables(muser: Muser, simulated: str, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(TABLE)
    recipe = write_recipe(tmp_path, simulated, extra="attributes: own.yaml\n", samples=24)
    muser("run", recipe)
    ended = muser("coverage", "small", "--json")
    assert ended.code == 0
    found = ended.json()["coverage"]
    assert found["wanted_samples"] == 24
    counts = {one["attribute"]: [value["achieved"] for value in one["values"]] for one in found["attributes"]}
    assert counts["region"] == [24]
    assert sum(counts["identity"]) == 24
    # 12 of each identity and of each condition are wanted, but only 6 of an identity with a condition.
    pairs = {(pair["first"], pair["second"]): pair["cells"] for pair in found["pairs"]}
    assert (pairs["identity", "region"], pairs["identity", "condition"]) == (2, 0)
    diversity = ended.json()["diversity"]
    assert diversity["texts"] == 26
    assert 0 < diversity["distinct"]["1"] < diversity["distinct"]["3"] <= 1
    assert 1 <= diversity["vendi"] <= 26


def test_the_largest_gaps_are_printed_and_all_of_them_on_request(muser: Muser, simulated: str, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(TABLE)
    muser("run", write_recipe(tmp_path, simulated, extra="attributes: own.yaml\n", samples=24))
    short = muser("coverage", "small").out
    assert re.match(r"small: 24 accepted samples drawn from the tables\n\d+ of \d+ pairs of values are covered", short)
    assert re.search(r"^identity +2 of 2 +[01]\.\d\d bits +1\.00$", short, re.MULTILINE)
    assert "diversity of 26 queries" in short
    assert "pair of attributes" not in short
    long = muser("coverage", "small", "--pairs").out
    assert re.search(r"^identity × region +2 +\d+ %$", long, re.MULTILINE)
    assert max(len(line) for line in long.splitlines()) <= 80


def test_changed_tables_and_runs_without_any_get_one_clear_message(
    muser: Muser, simulated: str, tmp_path: Path
) -> None:
    (tmp_path / "own.yaml").write_text(TABLE)
    muser("run", write_recipe(tmp_path, simulated, extra="attributes: own.yaml\n"))
    (tmp_path / "own.yaml").write_text(TABLE.replace("burn", "scald"))
    changed = muser("coverage", "small")
    assert changed.code == 1
    assert "the attribute tables are not those that run small was drawn from" in changed.err
    muser("run", write_recipe(tmp_path, simulated, samples=0), "--set", "name=brought")
    brought = muser("coverage", "brought")
    assert brought.code == 1
    assert "were not drawn from attribute tables" in brought.err


def test_a_report_shows_coverage_as_pictures_in_one_file(muser: Muser, simulated: str, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(TABLE)
    muser("run", write_recipe(tmp_path, simulated, extra="attributes: own.yaml\n", samples=24))
    assert muser("report", "small", "-o", "small.html").out == "report: small.html\n"
    page = (tmp_path / "small.html").read_text(encoding="utf-8")
    assert "<h2>Coverage</h2>" in page
    assert page.count("data:image/svg+xml;base64,") == 2
    assert "<td>identity × region</td><td>2</td>" in page
    assert "Simulated: a script replied" in page
    (tmp_path / "own.yaml").unlink()
    assert muser("report", "small").code == 0
    page = (tmp_path / "small-report.html").read_text(encoding="utf-8")
    assert "svg" not in page.partition("<body>")[2]
    assert "own.yaml" in page, page.partition("<h2>Coverage")[2][:300]


def test_a_top_up_covers_every_pair_of_values(muser: Muser, simulated: str, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(TABLE)
    recipe = write_recipe(tmp_path, simulated, extra="attributes: own.yaml\n", samples=60)
    assert muser("run", recipe, "--top-up").code == 0
    found = muser("coverage", "small", "--json").json()["coverage"]
    assert found["wanted_samples"] == 60
    assert found["topped_up"] > 0
    assert found["covered"] == found["cells"] == 8
