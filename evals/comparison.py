"""Compares two runs sample by sample: flipped verdicts, answer lengths, tokens and changed words, with tests."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from ..core.comparison import Comparison, Difference, Flips, Pair
from ..core.errors import InputError
from ..graph.identity import ABSENT, difference
from ..store.file.database import Store
from ..store.queries.pairs import Judged, Pairs, Texts, tokens_by_role
from ..store.records.runs import Run, find_run
from ..store.records.samples import counts
from .statistics import compare, judge_flips

MEASURED = 1_000
"""Number of pairs whose texts are compared: enough for narrow intervals, and just as fast with 100,000 samples."""

SHOWN = 10
"""Default number of pairs to look at first."""


def compare_runs(store: Store, first: str, second: str, *, shown: int = SHOWN) -> Comparison:
    """How the second run's samples differ from the matching ones of the first; `look_first` has at most `shown` pairs.

    Raises InputError if a run does not exist or no samples match.
    """
    changes = _changes(store, first, second)
    pairs = Pairs(store, first, second)
    found = pairs.count()
    if not found.matched:
        raise InputError(
            f"no sample of run {second} matches a sample of run {first} by origin or key",
            where=str(store.path),
            todo="compare runs over the same inputs, or a run with its own forks",
        )
    drawn = pairs.draw(MEASURED)
    measured = [_measure(pair) for pair in drawn]
    others = [_measure(pair) for pair in pairs.most_flipped(10 * shown)]
    return Comparison(
        first=first,
        second=second,
        changes=changes,
        samples=(sum(counts(store, first).values()), sum(counts(store, second).values())),
        matched=found.matched,
        compared=found.compared,
        done_only=(found.first_only, found.second_only),
        same_query=found.same_query,
        same_answer=found.same_answer,
        verdicts=_flips(pairs.judged(), found.compared),
        measured=len(drawn),
        length=_compare({pair.second: pair.length for pair in measured}),
        tokens=_compare(_tokens(store, drawn)),
        changed=sum(pair.changed for pair in measured) / max(len(measured), 1),
        look_first=_look_first([*measured, *others], shown),
    )


def changed_share(before: str, after: str) -> float:
    """The share of both texts' words that the other text lacks, ignoring word order; 0 for two empty texts."""
    old, new = Counter(before.split()), Counter(after.split())
    words = old.total() + new.total()
    return 1 - 2 * (old & new).total() / words if words else 0.0


def _changes(store: Store, first: str, second: str) -> tuple[str, ...]:
    before, after = _run(store, first), _run(store, second)
    if after.parent == first:
        return after.changes
    lines = difference(before.identity, after.identity)
    # A run of forks records only the inputs read from its first node on, so absent keys are no change.
    forked = before.parent or after.parent
    return tuple(line for line in lines if not (forked and ABSENT in line))


def _run(store: Store, name: str) -> Run:
    run = find_run(store, name)
    if run is None:
        raise InputError(f"there is no run {name}", where=str(store.path), todo="`muser runs` lists the runs")
    return run


def _flips(judged: Iterable[Judged], compared: int) -> dict[str, Flips]:
    numbers: dict[str, Counter[tuple[bool, bool]]] = defaultdict(Counter)
    for one in judged:
        numbers[one.critic][one.before == "pass", one.after == "pass"] += one.pairs
    return {
        critic: judge_flips(n.total(), compared - n.total(), gained=n[False, True], lost=n[True, False])
        for critic, n in numbers.items()
    }


def _measure(pair: Texts) -> Pair:
    before, after = pair.answers
    return Pair(
        first=pair.first,
        second=pair.second,
        flips=pair.flips,
        length=(len(before), len(after)),
        changed=changed_share(before, after),
    )


def _look_first(pairs: Iterable[Pair], shown: int) -> tuple[Pair, ...]:
    differ = {pair.second: pair for pair in pairs if pair.changed or pair.flips}
    return tuple(sorted(differ.values(), key=lambda pair: (-len(pair.flips), -pair.changed, pair.second))[:shown])


def _tokens(store: Store, drawn: Sequence[Texts]) -> dict[str, tuple[int, int]]:
    """Tokens of the roles that both samples called; a fork makes no calls before the node where it starts."""
    spent = tokens_by_role(store, (row for pair in drawn for row in pair.rows))
    sums = {}
    for pair in drawn:
        old, new = (spent.get(row, {}) for row in pair.rows)
        if both := old.keys() & new.keys():
            sums[pair.second] = (sum(old[role] for role in both), sum(new[role] for role in both))
    return sums


def _compare(values: dict[str, tuple[int, int]]) -> Difference | None:
    if not values:
        return None
    first, second = ({name: float(both[side]) for name, both in values.items()} for side in (0, 1))
    return compare(first, second)
