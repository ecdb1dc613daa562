"""The attribute tables: how a file is read, and what is refused."""

from pathlib import Path

import pytest

from muser.core.errors import SettingsError
from muser.prompts.attributes import AttributeTables, load_attributes

SMALL = """\
attributes:
  role:
    label: who asks
    values:
      nurse: {text: "a registered\\n  nurse", weight: 3, traits: {training: professional}}
      parent: {traits: {age: [0, 17], training: lay}, examples: [My son coughs., She has a rash.]}
  language:
    values:
      hi: {notes: {name: Hindi}}
      en:
  style:
    values:
      notes: {text: in shorthand, traits: {training: [student, professional]}, when: {role: {nurse: 2}}}
      plain: in plain words
never:
  - {role: parent, style: [notes, plain], language: en}
stratify: [role]
"""


@pytest.fixture
def small(tmp_path: Path) -> AttributeTables:
    (tmp_path / "t.yaml").write_text(SMALL)
    return load_attributes("t.yaml", tmp_path)


def test_a_persona_is_described_in_the_words_of_the_table(small: AttributeTables) -> None:
    persona = {"role": "nurse", "style": "my own", "ward": "7"}
    assert small.describe(persona) == {"role": "a registered nurse", "style": "my own", "ward": "7"}


def test_the_prompt_gets_labels_notes_and_the_name_of_the_language(small: AttributeTables) -> None:
    values = small.for_prompt({"role": "nurse", "language": "hi"}, 0)
    assert values["attributes"]["role"] == {
        "label": "who asks", "value": "nurse", "text": "a registered nurse", "notes": {},
    }  # fmt: skip
    assert (values["language"], values["examples"]) == ("Hindi", [])
    assert small.language_of({"language": "Klingon"}) == "Klingon"
    assert small.language_of(None) == ""


def test_a_seed_chooses_one_example_of_a_value(small: AttributeTables) -> None:
    shown = {tuple(small.for_prompt({"role": "parent"}, seed)["examples"]) for seed in range(20)}
    assert shown == {("My son coughs.",), ("She has a rash.",)}


def test_the_digest_follows_the_content_and_not_the_remarks(small: AttributeTables, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(f"# remark\n{SMALL}\n")
    assert load_attributes("t.yaml", tmp_path).digest == small.digest
    for old, new in (("weight: 3", "weight: 2"), ("[0, 17]", "[0, 18]"), ("stratify: [role]", ""), ("hi: {", "hj: {")):
        (tmp_path / "t.yaml").write_text(SMALL.replace(old, new))
        assert load_attributes("t.yaml", tmp_path).digest != small.digest


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("stratify: [role]", "stratify: [rolle]", "stratify: unknown attribute 'rolle'; did you mean role?"),
        ("stratify: [role]", "stratify: role", "stratify: must be a list of attributes"),
        ("stratify:", "stratfy:", "stratfy: unknown key; did you mean stratify?"),
        ("label: who asks", "lable: who asks", "attributes.role.lable: unknown key; did you mean label?"),
        ("weight: 3", "wieght: 3", "attributes.role.values.nurse.wieght: unknown key; did you mean weight?"),
        ("weight: 3", "weight: -1", "attributes.role.values.nurse.weight: must be a number, at least 0"),
        ("weight: 3", "weight: true", "attributes.role.values.nurse.weight: must be a number, at least 0"),
        ("[0, 17]", "[17, 0]", "attributes.role.values.parent.traits.age: the range must be [lowest, highest]"),
        ("[0, 17]", "{}", "attributes.role.values.parent.traits.age: must be [lowest, highest], a word, or a list"),
        ("[My son coughs., She has a rash.]", "x", "attributes.role.values.parent.examples: must be a list of texts"),
        ("{name: Hindi}", "Hindi", "attributes.language.values.hi.notes: must be a mapping of names to texts"),
        ("plain: in plain words", "plain: 3", "attributes.style.values.plain: must be text, or a mapping with text"),
        ("{role: {nurse: 2}}", "{rule: {nurse: 2}}", "'rule' is no earlier attribute; did you mean role?"),
        ("{role: {nurse: 2}}", "{style: {plain: 2}}", "'style' is no earlier attribute must stand before this one"),
        ("{role: {nurse: 2}}", "{role: {nurze: 2}}", "role is never 'nurze'; did you mean nurse?"),
        ("style: [notes, plain]", "style: [note, plain]", "style is never 'note'; did you mean notes?"),
        ("language: en}", "lang: en}", "unknown attribute 'lang'; did you mean language?"),
        ("- {role: parent, style: [notes, plain], language: en}", "- {role: parent}", "never[0]: must name a value"),
        ("  language:", "  my.language:", "a name starts with a letter, has letters, digits, spaces, _ and -"),
        ("      en:", "      7:", "is not text; quote it"),
        ("plain: in plain words", "plain: {weight: 0}\n      notes2: {weight: 0}", None),
        ("attributes:", "attribute:", "a table is a mapping with attributes"),
    ],
)
def test_a_bad_table_is_refused_with_place_and_reason(tmp_path: Path, old: str, new: str, said: str | None) -> None:
    assert old in SMALL
    (tmp_path / "t.yaml").write_text(SMALL.replace(old, new))
    if said is None:
        load_attributes("t.yaml", tmp_path)
        return
    with pytest.raises(SettingsError) as caught:
        load_attributes("t.yaml", tmp_path)
    assert said in str(caught.value)
    assert f"{tmp_path / 't.yaml'}:" in str(caught.value)


def test_tables_without_any_weight_or_value_are_refused(tmp_path: Path) -> None:
    for values, said in {
        "{a: {weight: 0}}": "at least one weight must be above 0",
        "{}": "must be a mapping with values",
        "[a, b]": "must be a mapping with values",
    }.items():
        (tmp_path / "t.yaml").write_text(f"attributes:\n  style:\n    values: {values}\n")
        with pytest.raises(SettingsError, match=f"t.yaml:2: attributes.style: {said}"):
            load_attributes("t.yaml", tmp_path)


def test_a_file_that_is_no_table_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("- a\n")
    with pytest.raises(SettingsError, match="a table is a mapping with attributes"):
        load_attributes("t.yaml", tmp_path)
    with pytest.raises(SettingsError, match=r"there is no table attribute\.yaml.*did you mean attributes\.yaml\?$"):
        load_attributes("attribute.yaml", tmp_path)
