"""What a table cannot draw: found by states, and compared with every persona of small tables."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from muser.core.errors import SettingsError
from muser.prompts.attributes import load_attributes
from muser.prompts.reachability import check_attributes, load_sound_attributes, table_faults

Table = dict[str, Any]
KINDS = ("p", "q", "r")


def faults(folder: Path, table: Table) -> list[tuple[str, str]]:
    (folder / "t.yaml").write_text(yaml.safe_dump(table, sort_keys=False))
    return [(".".join(map(str, keys)), what) for keys, what in table_faults(load_attributes("t.yaml", folder))]


def test_the_shipped_table_has_no_dead_end_and_draws_every_value() -> None:
    check_attributes("attributes.yaml", Path())


@pytest.mark.parametrize(
    ("table", "where", "why"),
    [
        (
            """attributes:
  who: {values: {parent: {traits: {age: [0, 17]}}, patient: {traits: {age: [18, 64]}}}}
  condition: {values: {dementia: {traits: {age: [70, 100]}}, cough: }}""",
            "t.yaml:3: attributes.condition.values.dementia: is never drawn:",
            "its age contradicts, whatever is drawn before it",
        ),
        (
            """attributes:
  who: {values: {parent: , nurse: }}
  style: {values: {notes: {when: {who: {parent: 0, nurse: 0}}}, plain: }}""",
            "t.yaml:3: attributes.style.values.notes: is never drawn: ",
            "its weight is 0, whatever",
        ),
        (
            """attributes:
  vagueness: {values: {vague: }}
  completeness: {values: {complete: , partial: }}
never: [{vagueness: vague, completeness: complete}]""",
            "t.yaml:3: attributes.completeness.values.complete: is never drawn: ",
            "`never` refuses it, whatever",
        ),
        (
            """attributes:
  who: {values: {child: {traits: {age: [0, 12]}}, adult: }}
  condition: {values: {dementia: {traits: {age: [60, 100]}}}}""",
            "t.yaml:3: attributes.condition: has no value left for a persona with who 'child' ",
            "(1 × its age contradicts)",
        ),
        (
            """attributes:
  a: {values: {x: , y: }}
  b: {values: {x: , y: }}
  c: {values: {x: , y: {when: {a: {x: 0}}}}}
never: [{a: x, b: [x, y], c: x}]""",
            "t.yaml:4: attributes.c: has no value left for a persona with a 'x', b 'x' ",
            "(1 × `never` refuses it, 1 × its weight is 0); 1 more dead end",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_line_and_reason(tmp_path: Path, table: str, where: str, why: str) -> None:
    (tmp_path / "t.yaml").write_text(table)
    with pytest.raises(SettingsError) as refused:
        check_attributes("t.yaml", tmp_path)
    assert where in str(refused.value)
    assert why in str(refused.value)


def test_a_value_with_weight_0_is_switched_off_and_no_fault(tmp_path: Path) -> None:
    assert faults(tmp_path, {"attributes": {"a": {"values": {"x": None, "y": {"weight": 0}}}}}) == []


kinds = st.lists(st.sampled_from(KINDS), min_size=1, max_size=2, unique=True)
entries = st.fixed_dictionaries({}, optional={"traits": st.fixed_dictionaries({"kind": kinds})})
tables = st.fixed_dictionaries(
    {"attributes": st.fixed_dictionaries(
        {name: st.fixed_dictionaries({"values": st.fixed_dictionaries({"x": entries, "y": entries})}) for name in "abc"}
    )},
    optional={"never": st.lists(
        st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"), min_size=2, max_size=3), min_size=1, max_size=2
    )},
)  # fmt: skip


@settings(max_examples=80)
@given(tables)
def test_states_find_exactly_the_dead_ends_and_the_unreachable_values_that_trying_everything_finds(
    tmp_path_factory: pytest.TempPathFactory, table: Table
) -> None:
    stuck, drawn = set[str](), set[tuple[str, str]]()
    for persona in grow(table, {}):
        drawn |= set(persona.items())
        stuck |= set(list(table["attributes"])[len(persona) :][:1])
    expected = {f"attributes.{name}" for name in stuck}
    # Where nothing is reached, there is no state to draw from either.
    expected |= {f"attributes.{name}.values.{value}" for name in "abc" for value in "xy" if (name, value) not in drawn}
    assert {where for where, _ in faults(tmp_path_factory.mktemp("t"), table)} == expected


def grow(table: Table, persona: dict[str, str]) -> Iterator[dict[str, str]]:
    """Every persona that drawing can end with: a whole one, or one that cannot be continued."""
    longer = []
    if len(persona) < 3:
        name = list(table["attributes"])[len(persona)]
        longer = [more for value in "xy" if fits(table, more := {**persona, name: value})]
    if not longer:
        yield persona
    for more in longer:
        yield from grow(table, more)


def fits(table: Table, persona: dict[str, str]) -> bool:
    given = (table["attributes"][name]["values"][value] for name, value in persona.items())
    left = set(KINDS).intersection(*(entry["traits"]["kind"] for entry in given if "traits" in entry))
    return bool(left) and not any(rule.items() <= persona.items() for rule in table.get("never", ()))


def test_a_run_refuses_a_table_of_ones_own_with_a_dead_end(tmp_path: Path) -> None:
    table = {"a": {"values": {"x": {"traits": {"k": "p"}}}}, "b": {"values": {"x": {"traits": {"k": "q"}}}}}
    (tmp_path / "t.yaml").write_text(yaml.safe_dump({"attributes": table}))
    with pytest.raises(SettingsError, match="has no value left"):
        load_sound_attributes("t.yaml", tmp_path)
    assert "condition" in load_sound_attributes("attributes.yaml", tmp_path).choices
