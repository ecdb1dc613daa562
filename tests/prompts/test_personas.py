"""Personas from a user's file: what a row may be, the order in which rows are used, and what is drawn around them."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from muser.core.errors import InputError, MuserError
from muser.core.recipe import ModelSettings, Recipe
from muser.core.types import Persona
from muser.prompts.attributes import AttributeTables, load_attributes
from muser.prompts.personas import load_tables, read_personas
from muser.prompts.sampling import draw_persona

TABLE = """attributes:
  who: {values: {parent: {traits: {age: [0, 17]}}, patient: {traits: {age: [18, 64]}}}}
  condition: {values: {croup: {traits: {age: [0, 6]}}, gout: {traits: {age: [30, 90]}}, cough: }}"""


@pytest.fixture
def tables(tmp_path: Path) -> AttributeTables:
    (tmp_path / "t.yaml").write_text(TABLE)
    return load_attributes("t.yaml", tmp_path)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_json_lines_and_csv_give_the_same_personas_and_leave_out_empty_cells(tmp_path: Path) -> None:
    lines = write(tmp_path / "p.jsonl", '{"who": "patient", "my ward": "a, b"}\n\n{"who": "", "condition": "gout"}\n')
    table = write(tmp_path / "p.csv", '\ufeffwho,my ward,condition\npatient,"a, b",\n,,gout\n')
    assert (
        read_personas(lines) == read_personas(table) == ({"who": "patient", "my ward": "a, b"}, {"condition": "gout"})
    )


def test_parquet_is_read_or_its_missing_library_is_named(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    if importlib.util.find_spec("pyarrow") is None:
        with pytest.raises(MuserError, match="Parquet files need pyarrow"):
            read_personas(path)
        return
    from pyarrow import Table, parquet

    parquet.write_table(Table.from_pylist([{"who": "patient", "condition": None}]), path)
    assert read_personas(path) == ({"who": "patient"},)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("p.jsonl", '{"who": "a"}\n{"who": 7}\n', "p.jsonl:2: who: input should be a valid string"),
        ("p.jsonl", '{"who": "a"}\n["b"]\n', "not a JSON object"),
        ("p.csv", "who,7th\na,b\n", "p.csv:2: 7th: a name starts with a letter"),
        ("p.csv", "who\na,b\n", "p.csv:2: more cells than names: "),
        ("p.csv", "who\n", "it has no rows"),
        ("p.txt", "x", "a file of personas ends in .jsonl, .csv, .parquet"),
    ],
)
def test_a_file_that_has_no_personas_is_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        read_personas(write(tmp_path / name, text))
    assert said in str(refused.value)


def test_rows_are_used_in_order_and_then_equally_often_from_a_row_of_the_seed(tables: AttributeTables) -> None:
    rows = tuple(Persona(ward=str(number)) for number in range(5))
    own = replace(tables, rows=rows)
    drawn = [draw_persona(own, 3, number)["ward"] for number in range(1, 16)]
    assert drawn[:5] == [row["ward"] for row in rows]
    assert sorted(drawn[5:10]) == sorted(drawn[10:15]) == sorted(drawn[:5])
    assert len({tuple(draw_persona(own, seed, n)["ward"] for n in range(6, 11)) for seed in range(20)}) > 1


def test_what_a_row_leaves_out_is_drawn_and_fits_to_it(tables: AttributeTables) -> None:
    own = replace(tables, rows=(Persona(condition="croup"), Persona(condition="gout"), Persona(condition="my own")))
    drawn = [draw_persona(own, 0, number) for number in range(1, 61)]
    assert {(one["who"], one["condition"]) for one in drawn} == {
        ("parent", "croup"), ("patient", "gout"), ("parent", "my own"), ("patient", "my own"),
    }  # fmt: skip
    assert draw_persona(own, 0, 1, draw=2)["condition"] == "croup"


def test_the_rows_belong_to_the_identity_of_a_run(tables: AttributeTables, tmp_path: Path) -> None:
    write(tmp_path / "p.csv", "who\npatient\n")
    models = {"m": ModelSettings(model="m", base_url="http://127.0.0.1:9/v1")}
    recipe = Recipe(name="r", models=models, attributes="t.yaml", personas="p.csv", folder=tmp_path)
    first = load_tables(recipe)
    assert first.digest != tables.digest
    write(tmp_path / "p.csv", "who\nparent\n")
    assert load_tables(recipe).digest != first.digest
