"""How personas are drawn: reproducibly, by weight, balanced, and without contradictions."""

from collections import Counter
from itertools import product
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from muser.core.errors import SettingsError
from muser.core.hashing import derive_seed
from muser.prompts.attributes import AttributeTables, load_attributes
from muser.prompts.sampling import draw_persona, machine_of
from muser.prompts.traits import Trait, narrow

DRAWS = 2000


def tables(folder: Path, text: str) -> AttributeTables:
    (folder / "t.yaml").write_text(text)
    return load_attributes("t.yaml", folder)


@pytest.fixture(scope="module")
def shipped() -> AttributeTables:
    return load_attributes("attributes.yaml", Path())


def test_personas_are_the_same_on_every_machine(tmp_path: Path) -> None:
    small = tables(tmp_path, "attributes: {a: {values: {x: , y: {weight: 3}}}, b: {values: {x: , y: , z: }}}")
    drawn = ["".join(draw_persona(small, 7, number).values()) for number in range(1, 13)]
    assert drawn == ["yy", "yx", "yx", "xz", "xy", "yx", "xz", "xy", "yz", "yx", "xy", "yx"]


def test_a_value_comes_as_often_as_its_weight_says(shipped: AttributeTables) -> None:
    drawn = Counter(draw_persona(shipped, derive_seed("share", number))["identity"] for number in range(DRAWS))
    total = sum(choice.weight for choice in shipped.choices["identity"])
    for choice in shipped.choices["identity"]:
        share = choice.weight / total
        # Five standard deviations of a binomial proportion.
        assert abs(drawn[choice.value] / DRAWS - share) < 5 * (share * (1 - share) / DRAWS) ** 0.5, choice.value


def test_every_prefix_is_balanced_over_the_stratified_attributes(shipped: AttributeTables) -> None:
    total = sum(choice.weight for choice in shipped.choices["identity"])
    drawn: Counter[str] = Counter()
    for number in range(1, DRAWS + 1):
        drawn[draw_persona(shipped, 3, number)["identity"]] += 1
        if number % 250 == 0:
            for choice in shipped.choices["identity"]:
                assert abs(drawn[choice.value] - number * choice.weight / total) < 4, (number, choice.value)


def test_a_replaced_draw_keeps_the_stratum_and_changes_the_rest(shipped: AttributeTables) -> None:
    first = [draw_persona(shipped, 0, number) for number in range(1, 101)]
    second = [draw_persona(shipped, 0, number, draw=2) for number in range(1, 101)]
    assert [(p["identity"], p["language"]) for p in first] == [(p["identity"], p["language"]) for p in second]
    assert sum(one["condition"] == other["condition"] for one, other in zip(first, second, strict=True)) < 10


def test_a_new_attribute_changes_no_draw_of_the_others(tmp_path: Path) -> None:
    two = "attributes: {a: {values: {x: , y: }}, b: {values: {x: , y: }}}"
    three = "attributes: {a: {values: {x: , y: }}, c: {values: {x: , y: }}, b: {values: {x: , y: }}}"
    before, after = tables(tmp_path, two), tables(tmp_path, three)
    for number in range(1, 50):
        assert draw_persona(after, 1, number).items() >= draw_persona(before, 1, number).items()


def test_a_weight_depends_on_an_earlier_value(tmp_path: Path) -> None:
    text = """attributes:
      who: {values: {nurse: , parent: }}
      style: {values: {notes: {when: {who: {nurse: 3, parent: 0}}}, plain: }}"""
    small = tables(tmp_path, text)
    drawn = Counter(tuple(draw_persona(small, seed).values()) for seed in map(derive_seed, range(DRAWS)))
    assert ("parent", "notes") not in drawn
    share = drawn["nurse", "notes"] / (drawn["nurse", "notes"] + drawn["nurse", "plain"])
    assert share == pytest.approx(0.75, abs=0.05)


def test_a_dead_end_names_the_persona_that_it_leaves_without_a_value(tmp_path: Path) -> None:
    text = """attributes:
      who: {values: {child: {traits: {age: [0, 12]}}}}
      condition: {values: {dementia: {traits: {age: [60, 100]}}}}"""
    with pytest.raises(SettingsError, match="leaves no condition for a persona with age"):
        draw_persona(tables(tmp_path, text), 0)


def test_no_shipped_persona_breaks_a_rule_of_the_table(shipped: AttributeTables) -> None:
    for number in range(1, DRAWS + 1):
        check_persona(shipped, draw_persona(shipped, 5, number))


def check_persona(drawn_from: AttributeTables, persona: dict[str, str]) -> None:
    known: dict[str, Trait] = {}
    for name, value in persona.items():
        narrowed = narrow(known, drawn_from.find(name, value).traits)
        assert narrowed is not None, persona
        known = narrowed
    assert not any(all(persona[name] in values for name, values in rule.items()) for rule in drawn_from.never), persona


words = st.sampled_from(["p", "q", "r"])
traits = st.one_of(
    st.none(),
    st.lists(words, min_size=1, max_size=3, unique=True).map(lambda given: {"kind": given}),
    st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda ends: {"age": sorted(ends)}),
)
entries = st.fixed_dictionaries({"weight": st.integers(1, 5), "traits": traits})
attributes = st.dictionaries(
    st.sampled_from("abcd"), st.dictionaries(st.sampled_from("xyz"), entries, min_size=1).map(lambda v: {"values": v}),
    min_size=1,
)  # fmt: skip


@settings(max_examples=60)
@given(attributes, st.integers(0, 2**31 - 1))
def test_whatever_a_table_says_no_persona_contradicts_itself(
    tmp_path_factory: pytest.TempPathFactory, given_attributes: dict[str, dict[str, object]], seed: int
) -> None:
    table = tables(tmp_path_factory.mktemp("t"), yaml.safe_dump({"attributes": given_attributes}, sort_keys=False))
    try:
        personas = [draw_persona(table, seed, number) for number in range(1, 6)]
    except SettingsError:
        combined = product(*table.choices.values())
        values = [{name: one.value for name, one in zip(table.choices, chosen, strict=True)} for chosen in combined]
        assert not all(possible(table, persona) for persona in values), "a dead end where everything fits"
        return
    for persona in personas:
        check_persona(table, persona)
    assert [draw_persona(table, seed, number) for number in range(1, 6)] == personas
    assert machine_of(table) is machine_of(table)


def possible(table: AttributeTables, persona: dict[str, str]) -> bool:
    known: dict[str, Trait] | None = {}
    for name, value in persona.items():
        known = narrow(known, table.find(name, value).traits) if known is not None else None
    return known is not None
