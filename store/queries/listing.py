"""Lists of samples: filtered, searched, sorted, one page at a time."""

import json
from collections.abc import Collection, Container
from typing import Any

from ...core.errors import InputError
from ...core.problems import suggestion
from ...core.types import SampleStatus, Value, Verdict
from ..file.database import Store
from ..records.search import OnIndexed, index_texts
from .attributes import Attributes
from .filters import NAMES, attribute_sql, number_sql, parse_filter, parse_search

OPENING = 300
"""Characters of the query shown in a line."""

FARTHEST = 2**62
"""Largest limit and offset passed to SQLite, whose integers have 64 bits."""


class SampleLine(Value):
    """A sample in a list. `verdicts` are those of the last round, `tokens` of all its calls, reused ones included.

    `query` is the beginning of the query.
    """

    id: str
    run_id: str
    key: str
    status: SampleStatus
    verdicts: dict[str, Verdict]
    score: float | None
    rounds: int
    tokens: int
    seconds: float | None
    cause_kind: str | None
    failed_node: str | None
    query: str | None
    finished_at: str | None
    pruned: bool
    simulated: bool


class Listing(Value):
    """A page of samples and the exact total. `critics` are in the recipe's order."""

    total: int
    samples: tuple[SampleLine, ...]
    critics: tuple[str, ...] = ()


def list_samples(
    store: Store,
    run_id: str | None = None,
    where: str = "",
    sort: str = "",
    search: str = "",
    limit: int = 50,
    offset: int = 0,
    *,
    on_indexed: OnIndexed | None = None,
) -> Listing:
    """The samples of a run, or of all runs, that match the filter `where` and contain every word of `search`.

    `sort` is a name of the filter language, with a leading - for descending order; the default is insertion order. A
    search first indexes new texts and reports progress to `on_indexed`. InputError if an argument is invalid.
    """
    critics = _critics(store, run_id)
    attributes = Attributes(store, run_id)
    wanted = parse_filter(where, critics or None, attributes)
    order = _order(sort, attributes)
    found = parse_search(search)
    if wanted.searches or found.searches:
        index_texts(store, on_indexed)
    matching = f"FROM samples s WHERE {'s.run_id = ? AND ' if run_id else ''}{wanted.sql} AND {found.sql}"
    parameters = [*([run_id] if run_id else []), *wanted.parameters, *found.parameters]
    select = f"SELECT s.id, count(*) OVER () {matching} ORDER BY {order} LIMIT ? OFFSET ?"
    with store.reader() as db:
        page = db.execute(select, [*parameters, min(limit, FARTHEST), min(offset, FARTHEST)]).fetchall()
        # An empty page has no row with the total, so count separately.
        total = page[0][1] if page else db.execute(f"SELECT count(*) {matching}", parameters).fetchone()[0]
    samples = _lines(store, [row[0] for row in page])
    spoke = dict.fromkeys(critic for line in samples for critic in line.verdicts)
    return Listing(total=total, samples=samples, critics=tuple(dict.fromkeys([*critics, *spoke])))


def ended_since(store: Store, run_id: str, moment: str, known: Container[str] = ()) -> tuple[SampleLine, ...]:
    """The run's samples that ended at `moment` or later, in order of ending, without those in `known`."""
    ended = store.read(ENDED, (run_id, moment))
    return _lines(store, [row["id"] for row in ended if row["sample"] not in known])


ENDED = """
    SELECT id, run_id || '/' || key AS sample FROM samples WHERE run_id = ? AND finished_at >= ?
    ORDER BY finished_at, id"""


def _order(sort: str, attributes: Collection[str]) -> str:
    name = sort.removeprefix("-")
    if not name:
        return "s.id DESC" if sort else "s.id"
    known = {name: value.sql for name, value in NAMES.items() if value.kind != "text"}
    terms = known.get(name) or _attribute_order(name.removeprefix("persona."), attributes)
    if not terms:
        raise InputError(f"Samples cannot be sorted by {name!r}{suggestion(name, [*known, *attributes])}.")
    # SQLite sorts NULL before all values (sqlite.org/lang_select.html#orderby); s.id makes pages disjoint.
    way = "DESC" if sort.startswith("-") else "ASC"
    return ", ".join([*(f"{term} {way} NULLS LAST" for term in terms), "s.id"])


def _attribute_order(name: str, attributes: Collection[str]) -> tuple[str, ...]:
    """By number where the values are numbers, else by text; nothing if no persona has the attribute."""
    sql = attribute_sql(name)
    return (number_sql(sql), sql) if sql and name in attributes else ()


def _critics(store: Store, run_id: str | None) -> list[str]:
    """The critics of the run's recipe, or of all runs."""
    rows = store.read("SELECT identity FROM runs WHERE ? IS NULL OR id = ?", (run_id, run_id))
    named = [role for row in rows for role in json.loads(row["identity"]).get("roles", ())]
    return list(dict.fromkeys(role.removeprefix("critics.") for role in named if role.startswith("critics.")))


def _lines(store: Store, ids: list[int]) -> tuple[SampleLine, ...]:
    wanted = json.dumps(ids)
    verdicts: dict[int, dict[str, Any]] = {i: {} for i in ids}
    # In the order of rounds, so that the last round's verdict overwrites those before it.
    for row in store.read(LAST_VERDICTS, (wanted,)):
        verdicts[row["sample_id"]][row["critic"]] = row["verdict"]
    lines = {}
    for row in store.read(LINES, {"ids": wanted, "opening": OPENING}):
        i = row.pop("number")
        lines[i] = SampleLine(**row | {"verdicts": verdicts[i], "pruned": bool(row["pruned"])})
    return tuple(lines[i] for i in ids)


LINES = """
    SELECT s.id AS number, run_id || '/' || key AS id, run_id, key, status, score, rounds, tokens, seconds, cause_kind,
        failed_node, substr(body, 1, :opening) AS query, finished_at, pruned_at IS NOT NULL AS pruned,
        simulated
    FROM samples s LEFT JOIN texts ON texts.id = query_id WHERE s.id IN (SELECT value FROM json_each(:ids))"""

LAST_VERDICTS = """
    SELECT sample_id, critic, verdict FROM critiques WHERE sample_id IN (SELECT value FROM json_each(?))
    ORDER BY sample_id, round, position"""
