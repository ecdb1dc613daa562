"""The heat map of two attributes: accepted samples by pair of values, each cell with the filter that lists them."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from ..core.errors import InputError
from ..core.problems import suggestion
from ..store.file.database import Store
from ..store.queries import overview
from ..store.queries.coverage import count_pairs

MOST = 24
"""Values of an attribute that have a row or a column of their own; the rarer ones share one."""
SHADES = 8
OTHERS = "others"

Pair = tuple[str, str]
Expect = Callable[[str, str, str], Mapping[Pair, float]]
"""(run, attribute, attribute) → the wanted count of each pair of values; passed in, because the viewer must not import
`screens`. Empty for a run whose samples were not drawn from tables."""


class Cell(NamedTuple):
    """A pair of values: accepted samples, how many were wanted if that is known, and the filter that lists them."""

    samples: int
    wanted: float | None
    where: str
    shade: int

    @property
    def is_short(self) -> bool:
        """Whether it has less than 95 % of a wanted count of at least 10."""
        return self.wanted is not None and self.wanted >= 10 and self.samples < 0.95 * self.wanted


class Row(NamedTuple):
    """A value of the first attribute with its cells."""

    value: str
    where: str
    cells: Sequence[Cell]


@dataclass(frozen=True)
class HeatMap:
    """Two attributes of a run; `columns` are values of the second with their filters."""

    run: str
    attributes: Sequence[str]
    first: str
    second: str
    columns: Sequence[tuple[str, str]]
    rows: Sequence[Row]
    samples: int
    has_wanted: bool


def heat_map(store: Store, run_id: str, query: Mapping[str, str], expect: Expect | None) -> HeatMap:
    """`query` names the attributes as `rows` and `columns`; without, the run's first two. Raises InputError."""
    values = overview.coverage(store, run_id)
    names = list(values)
    if len(names) < 2:
        raise InputError(f"run {run_id} has fewer than two attributes, so there are no pairs to show")
    first = _attribute(query.get("rows") or names[0], names)
    second = _attribute(query.get("columns") or next(name for name in names if name != first), names)
    if first == second:
        raise InputError(f"rows and columns are both {first}; choose two different attributes")
    counts = count_pairs(store, run_id, first, second)
    wanted = expect(run_id, first, second) if expect else {}
    down, across = _groups(counts, 0), _groups(counts, 1)
    filters = {name: _filters(name, groups) for name, groups in ((first, down), (second, across))}
    most = max((int(_sum(counts, row, column)) for row in down.values() for column in across.values()), default=0)

    def cell(row: str, column: str) -> Cell:
        count = int(_sum(counts, down[row], across[column]))
        expected = round(_sum(wanted, down[row], across[column]), 1) if wanted else None
        where = f"{filters[first][row]} and {filters[second][column]} and status=done"
        return Cell(count, expected, where, ceil(SHADES * (count / most) ** 0.5) if most else 0)

    rows = [Row(row, filters[first][row], [cell(row, column) for column in across]) for row in down]
    columns = list(filters[second].items())
    return HeatMap(run_id, names, first, second, columns, rows, sum(counts.values()), bool(wanted))


def equals(name: str, value: str) -> str:
    """The filter for one value of an attribute."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{name}="{escaped}"'


def _attribute(name: str, names: Collection[str]) -> str:
    if name not in names:
        raise InputError(f"There is no attribute {name!r}{suggestion(name, names)}")
    return name


def _groups(counts: Mapping[Pair, int], side: int) -> dict[str, frozenset[str]]:
    """Row or column → the values in it, the most frequent first; the last one has all that are rarer."""
    totals = Counter[str]()
    for pair, count in counts.items():
        totals[pair[side]] += count
    ordered = sorted(totals, key=lambda value: (-totals[value], value))
    groups = {value: frozenset({value}) for value in ordered[:MOST]}
    rest = frozenset(ordered[MOST:])
    return groups | ({f"{len(rest)} {OTHERS}": rest} if rest else {})


def _filters(name: str, groups: Mapping[str, frozenset[str]]) -> dict[str, str]:
    """Row or column → the filter that lists its samples."""
    single = [value for value, inner in groups.items() if inner == {value}]
    rest = f"has {name} and not ({' or '.join(equals(name, value) for value in single)})"
    return {value: equals(name, value) if inner == {value} else rest for value, inner in groups.items()}


def _sum(counts: Mapping[Pair, float], rows: Iterable[str], columns: Collection[str]) -> float:
    return sum(counts.get((row, column), 0) for row in rows for column in columns)
