"""Expected shares of attribute values and of pairs of them."""

from collections import defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muser.prompts.attributes import AttributeTables, Choice, load_attributes
from muser.prompts.joint import joint_of
from muser.prompts.sampling import State, machine_of
from muser.prompts.traits import Trait

CHILD, ADULT = Trait(low=0, high=17), Trait(low=18, high=100)


def tables(
    choices: dict[str, tuple[Choice, ...]], never: tuple[dict[str, tuple[str, ...]], ...] = ()
) -> AttributeTables:
    return AttributeTables(choices=choices, labels={}, digest="", never=never)


def test_a_value_that_contradicts_leaves_its_share_to_the_others() -> None:
    who = (Choice("parent", "", traits={"age": CHILD}), Choice("nurse", ""))
    what = (Choice("dementia", "", traits={"age": ADULT}), Choice("flu", "", weight=3))
    joint = joint_of(tables({"who": who, "what": what}))
    assert joint.pairs["who", "what"].tolist() == [[0, 0.5], [0.125, 0.375]]
    assert joint.single["what"].tolist() == [0.125, 0.875]


def test_a_conditional_weight_and_a_refused_combination_change_the_shares() -> None:
    who = (Choice("parent", ""), Choice("nurse", ""))
    how = (Choice("plain", ""), Choice("notes", "", when={"who": {"nurse": 3}}), Choice("slang", ""))
    joint = joint_of(tables({"who": who, "how": how}, never=({"who": ("nurse",), "how": ("slang",)},)))
    assert np.allclose(joint.pairs["who", "how"], [[1 / 6, 1 / 6, 1 / 6], [1 / 8, 3 / 8, 0]])


@st.composite
def any_tables(draw: st.DrawFn) -> AttributeTables:
    """Small tables with weights, conditional weights, traits and a refused combination."""
    choices: dict[str, tuple[Choice, ...]] = {}
    for name in ("a", "b", "c", "d")[: draw(st.integers(2, 4))]:
        traits = st.dictionaries(st.sampled_from(["age", "sex"]), st.sampled_from([CHILD, ADULT]), max_size=1)
        factors = st.dictionaries(st.sampled_from("01"), st.sampled_from([0.5, 2.0]), max_size=1)
        free = [Choice("0", "", weight=1.0)]  # a value that goes with all, so that no table has a dead end
        for value in "12"[: draw(st.integers(0, 2))]:
            when = {other: draw(factors) for other in choices}
            free.append(Choice(value, "", weight=draw(st.integers(1, 3)), when=when, traits=draw(traits)))
        choices[name] = tuple(free)
    names = list(choices)
    rule = {names[0]: ("1",), names[-1]: ("1", "2")}
    return tables(choices, never=(rule,) if draw(st.booleans()) else ())


@given(any_tables())
@settings(max_examples=60, deadline=None)
def test_the_shares_are_those_of_all_personas_one_by_one(given: AttributeTables) -> None:
    machine, found = machine_of(given), defaultdict[tuple[str, str, str, str], float](float)

    def walk(names: list[str], state: State, persona: dict[str, str], probability: float) -> None:
        if not names:
            for a, b in combinations(persona, 2):
                found[a, b, persona[a], persona[b]] += probability
            return
        weights = machine.weights(names[0], state)
        for choice, weight in weights.items():
            after = machine.after(names[0], state, choice)
            walk(names[1:], after, persona | {names[0]: choice.value}, probability * weight / sum(weights.values()))

    walk(list(given.choices), State(), {}, 1.0)
    joint = joint_of(given)
    for a, b in joint.pairs:
        for (x, y), share in joint.shares(a, b).items():
            assert share == pytest.approx(found[a, b, x, y])


def test_the_shares_of_the_shipped_tables_add_up_and_pairs_are_named_in_either_order() -> None:
    joint = joint_of(load_attributes("attributes.yaml", Path()))
    for (first, second), table in joint.pairs.items():
        assert np.allclose(table.sum(axis=1), joint.single[first])
        assert np.allclose(table.sum(axis=0), joint.single[second])
    there, back = joint.shares("identity", "condition"), joint.shares("condition", "identity")
    assert {(b, a): share for (a, b), share in there.items()} == back
    assert sum(back.values()) == pytest.approx(1)
