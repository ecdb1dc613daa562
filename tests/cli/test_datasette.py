"""The metadata for Datasette: Datasette takes it, and every table, column and query that it names is there."""

import html
from pathlib import Path
from typing import Any

import pytest
import yaml
from datasette.app import Datasette

from .conftest import Muser


@pytest.fixture
def metadata(muser: Muser, recipe: Path) -> dict[str, Any]:
    """What the command prints for a store under another name, with a finished run in it."""
    assert muser("run", recipe, "--store", "my-own.db").code == 0
    printed = muser("db", "datasette", "--store", "my-own.db")
    assert printed.code == 0
    loaded: dict[str, Any] = yaml.safe_load(printed.out)
    return loaded


@pytest.fixture
def datasette(metadata: dict[str, Any], tmp_path: Path) -> Datasette:
    return Datasette([str(tmp_path / "my-own.db")], metadata=metadata)


async def test_every_query_runs_and_every_described_column_is_there(
    datasette: Datasette, metadata: dict[str, Any]
) -> None:
    database = datasette.get_database("my-own")
    described = metadata["databases"]["my-own"]
    for name, table in described["tables"].items():
        columns = {column.name for column in await database.table_column_details(name)}
        named = {*table.get("columns", {}), *table.get("facets", []), *filter(None, [table.get("label_column")])}
        assert columns, name
        assert named <= columns, name
    for name in described["queries"]:
        given = {"critic": "safety", "run": "small", "other": "small", "artifact": "1"}
        answer = await datasette.client.get(f"/my-own/{name}.json", params=given)
        assert answer.status_code == 200, answer.text
        assert answer.json().get("ok", True), name
    answer = await datasette.client.get("/my-own/cost.json?_shape=array")
    assert {row["role"] for row in answer.json()} >= {"responder", "refiner", "critics.safety"}
    answer = await datasette.client.get("/my-own/attributes.json?_shape=array&run=small")
    assert {row["attribute"] for row in answer.json()} >= {"identity", "region"}


async def test_the_pages_show_facets_and_hide_what_is_muser_s_own(datasette: Datasette) -> None:
    page = await datasette.client.get("/my-own/traces")
    assert page.status_code == 200
    assert "the user's query" in html.unescape(page.text)
    assert "facet-info" in page.text
    tables = (await datasette.client.get("/my-own.json")).json()["tables"]
    assert not next(table["hidden"] for table in tables if table["name"] == "runs")
    assert next(table["hidden"] for table in tables if table["name"] == "checkpoint_values")
