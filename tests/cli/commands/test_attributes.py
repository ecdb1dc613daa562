"""`muser attributes`: checking a table, drawing from it, and the joint distribution of two attributes."""

from pathlib import Path

import pytest

from ..conftest import Muser

TABLE = """\
attributes:
  identity:
    label: role
    values:
      parent: {weight: 3, text: "a parent", traits: {training: lay}}
      nurse: {text: "a nurse", traits: {training: professional}}
  condition:
    values:
      burn: {text: "a burn", notes: {chapter: S}}
      fracture: {text: "a broken arm", notes: {chapter: S}}
      asthma: {weight: 2, text: "asthma", when: {identity: {nurse: 3}}, notes: {chapter: J}}
  style:
    values:
      plain: "plain words"
      notes: {text: "clinical notes", traits: {training: professional}}
never:
  - {condition: burn, style: notes}
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(TABLE)
    return path


def test_a_sound_table_is_shown_with_exact_shares(muser: Muser, table: Path) -> None:
    checked = muser("attributes", "check", table, "--json").json()
    shares = {one["attribute"]: one["shares"] for one in checked["attributes"]}
    assert shares["identity"] == pytest.approx({"parent": 0.75, "nurse": 0.25})
    # Parents: 1 : 1 : 2; nurses: 1 : 1 : 6.
    assert shares["condition"] == pytest.approx({"burn": 0.21875, "fracture": 0.21875, "asthma": 0.5625})
    # Of the nurses 7 in 8 have a choice, and half of those take notes.
    assert shares["style"] == pytest.approx({"plain": 1 - 7 / 64, "notes": 7 / 64})
    said = muser("attributes", "check", table)
    assert (said.code, "3 attributes with 7 values; each can be drawn" in said.out) == (0, True)
    assert "1 combinations are never drawn" in said.out


def test_a_table_with_a_dead_end_and_a_value_that_never_comes_is_refused_with_lines_and_reasons(
    muser: Muser, table: Path
) -> None:
    table.write_text(TABLE.replace("plain words", "x").replace('plain: "x"', "plain: {traits: {training: lay}}"))
    ended = muser("attributes", "check", table)
    assert ended.code == 1
    assert (
        "own.yaml:12: attributes.style: has no value left for a persona with identity 'nurse', condition 'burn'"
        in ended.err
    )
    assert "(1 × its training contradicts, 1 × `never` refuses it)" in ended.err


def test_personas_are_those_of_the_first_samples_of_a_recipe(muser: Muser, recipe: Path, table: Path) -> None:
    before = recipe.read_text()
    (table.parent / "own.csv").write_text("condition,ward\nasthma,7\n")
    recipe.write_text(f"{before}attributes: {table.name}\npersonas: own.csv\nseed: 7\n")
    drawn = muser("attributes", "preview", recipe, "-n", 2, "--json").json()
    assert muser("run", recipe, "--set", "queries=null").code == 0
    for one in drawn:
        assert one["persona"].items() >= {"condition": "asthma", "ward": "7"}.items()
        assert muser("show", f"small/{one['key']}", "--json").json()["persona"] == one["persona"]
    for command in (("run", recipe, "--top-up"), ("coverage", "small")):
        assert "come from own.csv" in muser(*command).err
    assert "a parent" in muser("attributes", "preview", table, "-n", 5).out


def test_a_joint_distribution_is_listed_and_drawn(muser: Muser, table: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = muser("attributes", "plot", "identity", "condition.chapter", table, "--json").json()
    shares = {tuple(pair["values"]): (pair["share"], pair["ratio"]) for pair in found["pairs"]}
    assert shares["parent", "S"] == pytest.approx((0.375, 0.375 / (0.75 * 0.4375)))
    assert shares["nurse", "J"] == pytest.approx((0.1875, 0.1875 / (0.25 * 0.5625)))
    for name, begins in {"p.png": b"\x89PNG", "p.svg": b"<?xml"}.items():
        assert muser("attributes", "plot", "style", "identity", table, "-o", name).code == 0
        assert (tmp_path / name).read_bytes().startswith(begins)


def test_what_cannot_be_plotted_is_named(muser: Muser, table: Path) -> None:
    for words, said in {
        ("identiy", "style"): "the table has no attribute identiy; did you mean identity?",
        ("style", "condition.chapters"): "no value of condition has a note chapters; did you mean chapter?",
        ("style", "style"): "style and style are the same attribute; name two",
    }.items():
        assert said in muser("attributes", "plot", *words, table).err
    assert (
        "p.gif: a picture's file must end in .png or .svg"
        in muser("attributes", "plot", "style", "identity", table, "-o", "p.gif").err
    )
