"""The attribute tables and the personas drawn from them."""

from collections import Counter
from pathlib import Path

import pytest

from muser.core.errors import SettingsError
from muser.core.hashing import derive_seed
from muser.core.types import Persona
from muser.prompts.attributes import ATTRIBUTES, AttributeTables, draw_persona, load_attributes

DRAWS = 20_000
SMALL = "\n".join(
    f"{name}: {{a: text of a, b: {{weight: 3, text: text of b}}, never: {{weight: 0}}}}" for name in ATTRIBUTES
)


@pytest.fixture(scope="module")
def packaged() -> AttributeTables:
    return load_attributes("attributes.yaml", Path())


@pytest.fixture
def small(tmp_path: Path) -> AttributeTables:
    (tmp_path / "t.yaml").write_text(SMALL)
    return load_attributes("t.yaml", tmp_path)


def test_personas_are_the_same_on_every_machine(small: AttributeTables) -> None:
    assert "".join(draw_persona(small, seed)["style"] for seed in range(24)) == "babbbbabbbbababbbbbabbbb"
    assert "".join(draw_persona(small, 2).values()) == "ababbbb"


def test_every_value_is_drawn_as_often_as_its_weight_says(packaged: AttributeTables) -> None:
    personas = [draw_persona(packaged, derive_seed("proportions", number)) for number in range(DRAWS)]
    for name, choices in packaged.choices.items():
        drawn = Counter(persona[name] for persona in personas)
        total = sum(choice.weight for choice in choices)
        for choice in choices:
            share = choice.weight / total
            # Five standard deviations of a binomial proportion.
            assert abs(drawn[choice.value] / DRAWS - share) < 5 * (share * (1 - share) / DRAWS) ** 0.5, choice.value


def test_attributes_are_drawn_apart(packaged: AttributeTables) -> None:
    personas = [draw_persona(packaged, seed) for seed in range(DRAWS)]
    both = sum(p["identity"] == "patient" and p["completeness"] == "key details omitted" for p in personas) / DRAWS
    expected = sum(p["identity"] == "patient" for p in personas) * sum(
        p["completeness"] == "key details omitted" for p in personas
    )
    assert both == pytest.approx(expected / DRAWS**2, abs=0.01)


def test_a_change_of_one_table_changes_no_other_draw(small: AttributeTables) -> None:
    more = small.model_copy(update={"choices": small.choices | {"style": small.choices["style"][:1]}})
    for seed in range(50):
        assert draw_persona(more, seed) == draw_persona(small, seed) | {"style": "a"}


def test_a_weight_of_nothing_is_never_drawn(small: AttributeTables) -> None:
    drawn = Counter(draw_persona(small, seed)["region"] for seed in range(2000))
    assert set(drawn) == {"a", "b"}
    assert drawn["b"] / 2000 == pytest.approx(0.75, abs=0.05)


def test_a_persona_is_described_in_the_words_of_the_table(small: AttributeTables) -> None:
    persona = Persona(
        identity="a", region="b", condition="never", intent="my own", vagueness="a", completeness="a", style="a"
    )
    assert small.describe(persona) == {
        "identity": "text of a", "region": "text of b", "condition": "never", "intent": "my own",
        "vagueness": "text of a", "completeness": "text of a", "style": "text of a",
    }  # fmt: skip


def test_the_packaged_tables_cover_the_paper(packaged: AttributeTables) -> None:
    assert tuple(packaged.choices) == ATTRIBUTES
    sizes = {name: len(choices) for name, choices in packaged.choices.items()}
    assert all(
        sizes[name] >= least for name, least in {"identity": 10, "region": 10, "condition": 25, "style": 7}.items()
    )
    for choices in packaged.choices.values():
        assert len({choice.text for choice in choices}) == len(choices)
        assert all("\n" not in choice.text and not choice.text.endswith(".") for choice in choices)


def test_the_digest_follows_the_content_and_not_the_remarks(small: AttributeTables, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(f"# remark\n{SMALL}\n")
    assert load_attributes("t.yaml", tmp_path).digest == small.digest
    (tmp_path / "t.yaml").write_text(SMALL.replace("weight: 3", "weight: 2"))
    assert load_attributes("t.yaml", tmp_path).digest != small.digest


def test_a_text_is_one_line_of_the_prompt(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(SMALL.replace("a: text of a", 'a: "text\\n  of\\ta"', 1))
    assert load_attributes("t.yaml", tmp_path).choices["identity"][0].text == "text of a"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "style: ",
            "stile: ",
            ["t.yaml:1: style: is required", "t.yaml:7: stile: unknown attribute; did you mean style?"],
        ),
        ("style: {", "style: [{", None),
        ("a: text of a", "a: 3", ["t.yaml:7: style.a: must be text, or a mapping with text and weight"]),
        ("a: text of a", 'a: " "', ["t.yaml:7: style.a: must be text, or a mapping with text and weight"]),
        ("a: text of a", "a: {text: 3}", ["t.yaml:7: style.a.text: must be text"]),
        ("a: text of a", "a: {wieght: 3}", ["t.yaml:7: style.a.wieght: unknown key; did you mean weight?"]),
        ("a: text of a", "a: {weight: -1}", ["t.yaml:7: style.a.weight: must be a number, at least 0"]),
        ("a: text of a", "a: {weight: true}", ["t.yaml:7: style.a.weight: must be a number, at least 0"]),
        ("a: text of a", "a: x, a: y", ["t.yaml:7: style.a: duplicate key, first set in line 7"]),
        ("a: text of a", "1: x", ["t.yaml:7: style: the key 1 is not text; quote it"]),
    ],
)
def test_a_bad_table_is_refused_with_all_its_lines(tmp_path: Path, old: str, new: str, said: list[str] | None) -> None:
    *before, last = SMALL.splitlines()
    (tmp_path / "t.yaml").write_text("\n".join([*before, last.replace(old, new)]))
    with pytest.raises(SettingsError) as caught:
        load_attributes("t.yaml", tmp_path)
    lines = [line.replace(f"{tmp_path}/", "").strip() for line in str(caught.value).splitlines()]
    if said is None:
        assert "invalid YAML" in lines[0]
    else:
        assert lines[-len(said) :] == said
        assert len(lines) == (1 if len(said) == 1 else len(said) + 1)


def test_tables_without_any_weight_or_value_are_refused(tmp_path: Path) -> None:
    *before, _ = SMALL.splitlines()
    for table, said in {
        "{a: {weight: 0}}": "at least one weight must be above 0",
        "{}": "must be a mapping of values to their texts",
        "[a, b]": "must be a mapping of values to their texts",
    }.items():
        (tmp_path / "t.yaml").write_text("\n".join([*before, f"style: {table}"]))
        with pytest.raises(SettingsError, match=f"t.yaml:7: style: {said}$"):
            load_attributes("t.yaml", tmp_path)


def test_a_file_that_is_no_table_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("- a\n")
    with pytest.raises(SettingsError, match="must be a mapping of the attributes identity, region"):
        load_attributes("t.yaml", tmp_path)
    with pytest.raises(SettingsError, match=r"there is no table attribute\.yaml.*did you mean attributes\.yaml\?$"):
        load_attributes("attribute.yaml", tmp_path)
