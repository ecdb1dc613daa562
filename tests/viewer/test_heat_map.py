"""The heat map of two attributes: counts, the filters of its cells, and what is short."""

from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.testclient import TestClient

from muser.core.errors import InputError
from muser.core.types import SampleInput
from muser.store.file.database import Store
from muser.store.queries.listing import list_samples
from muser.store.records.runs import Run, create_run
from muser.store.records.samples import add_samples
from muser.viewer.app import build_app
from muser.viewer.heat_map import MOST, heat_map

HOST, TOKEN = "127.0.0.1:8321", "a-token-for-tests"
COUNTS = {("parent", "flu"): 3, ("nurse", "flu"): 9, ('a "quoted" one', "burn"): 1}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "muser.db") as opened:
        create_run(opened, Run(id="study", name="study", recipe="", identity={}, fingerprint="f"))
        drawn = [{"who": who, "what": what} for (who, what), n in COUNTS.items() for _ in range(n)]
        add(opened, drawn)
        yield opened


def add(store: Store, personas: list[dict[str, str]]) -> None:
    """Finished samples with these personas."""
    first = store.read("SELECT count(*) AS n FROM samples")[0]["n"]
    inputs = (SampleInput(key=f"s{first + n:06d}", persona=persona) for n, persona in enumerate(personas))
    add_samples(store, "study", inputs, 1)
    store.write_now(lambda db: db.execute("UPDATE samples SET status = 'done'").rowcount)


def test_every_cell_counts_the_samples_that_its_filter_lists(store: Store) -> None:
    found = heat_map(store, "study", {}, None)
    assert (found.first, found.second, found.samples) == ("who", "what", 13)
    cells = {
        (row.value, column): cell
        for row in found.rows
        for (column, _), cell in zip(found.columns, row.cells, strict=True)
    }
    assert {pair: cell.samples for pair, cell in cells.items() if cell.samples} == COUNTS
    for pair, cell in cells.items():
        assert list_samples(store, "study", cell.where).total == COUNTS.get(pair, 0), cell.where
    assert max(cell.shade for cell in cells.values()) == cells["nurse", "flu"].shade == 8


def test_rare_values_share_a_row_whose_filter_lists_them_all(store: Store) -> None:
    add(store, [{"who": f"visitor {n}", "what": "flu"} for n in range(MOST + 2)])
    found = heat_map(store, "study", {}, None)
    assert len(found.rows) == MOST + 1
    last = found.rows[-1]
    assert last.value == "5 others"
    assert list_samples(store, "study", last.where).total == 5
    assert sum(cell.samples for row in found.rows for cell in row.cells) == found.samples


def test_a_cell_with_too_few_of_at_least_ten_wanted_is_short(store: Store) -> None:
    wanted = {("nurse", "flu"): 9.4, ("parent", "flu"): 10.0, ("parent", "burn"): 9.9}
    found = heat_map(store, "study", {}, lambda run, first, second: wanted)
    assert [row.value for row in found.rows for cell in row.cells if cell.is_short] == ["parent"]


@pytest.mark.parametrize(("query", "said"), [({"rows": "whom"}, "who"), ({"rows": "who", "columns": "who"}, "both")])
def test_attributes_that_are_not_there_or_the_same_are_refused(store: Store, query: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        heat_map(store, "study", query, None)


def test_the_page_links_each_cell_to_the_list_of_its_samples(store: Store) -> None:
    wanted = {("flu", "parent"): 12.0, ("flu", "nurse"): 8.0}
    app = build_app(store, token=TOKEN, hosts={HOST}, expect=lambda run, first, second: wanted)
    with TestClient(app, base_url=f"http://{HOST}") as client:
        client.get(f"/?token={TOKEN}")
        assert 'href="/runs/study/coverage"' in client.get("/runs/study").text
        page = unescape(client.get("/runs/study/coverage?rows=what&columns=who").text)
        assert "what × who" in page
        assert 'class="shade-5 short" title="12.0 wanted"' in page
        link = next(line for line in page.split('href="') if ">9</a>" in line).partition('"')[0]
        where = parse_qs(urlsplit(link).query)["where"][0]
        assert where == 'what="flu" and who="nurse" and status=done'
        assert "9 samples" in client.get(link).text
        assert client.get("/runs/study/coverage?rows=nothing").status_code == 404
