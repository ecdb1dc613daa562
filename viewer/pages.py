"""What each page shows, read from the store; templates only lay it out."""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

from ..core.comparison import Comparison
from ..core.errors import InputError
from ..core.types import Critique
from ..store.file.database import Store
from ..store.queries import overview
from ..store.queries.critics import CriticAccount, Stability, critic_accounts, stability
from ..store.queries.listing import Listing, list_samples
from ..store.queries.reasons import Reason, explain
from ..store.queries.tallies import Tally, tally_run, verdicts_of
from ..store.records.artifacts import Artifact, artifacts_of
from ..store.records.forks import forks_of
from ..store.records.ledger import Call, RoleUsage, calls_of, usage_by_role
from ..store.records.runs import Run, RunLine, find_run, list_runs
from ..store.records.samples import Failure, Trace, failures, find_sample, get_trace
from .machine import Round, draw_machine
from .playground import Editable, Playground, Replay

Compare = Callable[[str, str], Comparison]
"""(first run, second run) → how they differ; passed in, because the viewer must not import `evals`."""

READ = 100
"""Refined samples whose words are compared for a run's page, which has to open at once."""
PAGE = 50
"""Samples on a page."""


@dataclass(frozen=True)
class RunPage:
    """One run. `coverage` is attribute → value → samples, `timeline` the samples that ended in each equal span."""

    run: Run
    line: RunLine
    tally: Tally
    usage: Sequence[RoleUsage]
    failures: Sequence[Failure]
    verdicts: Mapping[str, Mapping[str, int]]
    accounts: Sequence[CriticAccount]
    stability: Mapping[str, Stability]
    coverage: Mapping[str, Mapping[str, int]]
    first: str
    last: str
    timeline: Sequence[int]
    forks: Sequence[RunLine]


class Asked(NamedTuple):
    """The filter, order and search of a list, as `list_samples` takes them."""

    where: str
    sort: str
    search: str

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Asked":
        """Parsed from an address's query."""
        return cls(*(query.get(name, "").strip() for name in cls._fields))

    def address(self, **more: str | int) -> str:
        """The query of an address for this list."""
        said = self._asdict() | more
        return "?" + urlencode({name: value for name, value in said.items() if value != ""})


@dataclass(frozen=True)
class SamplesPage:
    """One page of a list; `problem` says why its filter is invalid."""

    run: str | None
    asked: Asked
    page: int
    listing: Listing
    problem: str = ""

    @property
    def pages(self) -> int:
        """The number of pages, at least one."""
        return max(1, -(-self.listing.total // PAGE))

    def place(self, number: int) -> str:
        """The query of a link to this page's n-th sample (from 0), so that the sample's page finds its neighbours."""
        if self.run and not any(self.asked):
            return ""
        return self.asked.address(of=self.run or "", at=(self.page - 1) * PAGE + number)


class Link(NamedTuple):
    """A sample, and the part of its address that says where it is in a list."""

    sample: str
    place: str = ""


class Around(NamedTuple):
    """The samples before and after one, in its run or in a list of `of` (a run, or all) whose query is `back`."""

    before: Link | None
    after: Link | None
    back: str = ""
    of: str = ""


@dataclass(frozen=True)
class Bar:
    """A call in the waterfall: its start and length, in percent of the sample's time."""

    call: Call
    begin: float
    length: float
    curl: str


@dataclass(frozen=True)
class TracePage:
    """Everything about a sample; `editable` and `models` are the playground's, `not_editable` why there is none.

    An exported file with redacted texts has no `reason`.
    """

    run: Run
    trace: Trace
    reason: Reason | None
    picture: Sequence[Round]
    bars: Sequence[Bar]
    seconds: float
    steps: Sequence[overview.Step]
    forks: Sequence[str]
    artifacts: Sequence[Artifact]
    around: Around
    rounds: Sequence[tuple[int, Sequence[Critique]]]
    editable: Sequence[Editable] = ()
    models: Sequence[str] = ()
    form_token: str = ""
    not_editable: str = ""

    @property
    def can_be_replayed(self) -> bool:
        """Whether the sample has ended, still has its steps, and is not of an evaluation."""
        ended = self.trace.status in ("done", "failed")
        return ended and not self.trace.pruned_at and self.run.kind == "samples"


@dataclass(frozen=True)
class ReplayPage:
    """The state of a replay; both traces once it is done."""

    replay: Replay
    calls: int
    most_calls: int
    before: Trace | None = None
    after: Trace | None = None


@dataclass(frozen=True)
class PairPage:
    """Two samples, and the changed settings if the second is a fork of the first."""

    before: Trace
    after: Trace
    changes: Sequence[str]


def runs_page(store: Store) -> list[RunLine]:
    """Every run, newest first."""
    return list_runs(store)


def run_page(store: Store, run_id: str) -> RunPage:
    """Raises InputError."""
    run, lines = _run(store, run_id), list_runs(store)
    first, last, timeline = overview.timeline(store, run_id)
    parents = {row["id"] for row in store.read("SELECT id FROM runs WHERE parent = ?", (run_id,))}
    return RunPage(
        run=run,
        line=next(line for line in lines if line.id == run_id),
        tally=tally_run(store, run_id),
        usage=usage_by_role(store, run_id),
        failures=failures(store, run_id),
        verdicts=verdicts_of(store, run_id),
        accounts=critic_accounts(store, run_id, read=READ),
        stability={one.critic: one for one in stability(store, run_id)},
        coverage=overview.coverage(store, run_id),
        first=first,
        last=last,
        timeline=timeline,
        forks=[line for line in lines if line.id in parents],
    )


def samples_page(store: Store, run_id: str | None, query: Mapping[str, str]) -> SamplesPage:
    """A page of a run's samples, or of all; an invalid filter becomes the page's problem."""
    if run_id is not None:
        _run(store, run_id)
    asked, page = Asked.of(query), max(1, _number(query, "page") or 1)
    try:
        found = list_samples(store, run_id, *asked, limit=PAGE, offset=(page - 1) * PAGE)
    except InputError as error:
        return SamplesPage(run_id, asked, 1, Listing(total=0, samples=()), problem=str(error))
    return SamplesPage(run_id, asked, page, found)


def trace_page(store: Store, sample: str, query: Mapping[str, str]) -> TracePage:
    """`query` may name the list that linked to the sample. Raises InputError."""
    found = find_sample(store, sample)
    trace, calls = get_trace(store, found), calls_of(store, found)
    run = _run(store, trace.run_id)
    bars, seconds = _waterfall(calls)
    numbers = sorted({critique.round for critique in trace.critiques})
    return TracePage(
        run=run,
        trace=trace,
        reason=explain(store, found),
        picture=draw_machine(trace, calls, _critics(run, trace)),
        bars=bars,
        seconds=seconds,
        steps=overview.steps_of(store, found),
        forks=forks_of(store, found),
        artifacts=artifacts_of(store, found),
        around=_around(store, found, query),
        rounds=[(number, [c for c in trace.critiques if c.round == number]) for number in numbers],
    )


def replay_page(store: Store, playground: Playground, replay: Replay) -> ReplayPage:
    """The state of a replay."""
    page = ReplayPage(replay, playground.calls, playground.most_calls)
    if replay.outcome is None:
        return page
    before, after = get_trace(store, replay.edit.sample), get_trace(store, replay.outcome.fork)
    return ReplayPage(replay, playground.calls, playground.most_calls, before, after)


def compare_page(store: Store, compare: Compare | None, query: Mapping[str, str]) -> dict[str, Any]:
    """Two runs compared, once both are named. Raises InputError."""
    a, b = query.get("a", ""), query.get("b", "")
    found = compare(a, b) if compare and a and b else None
    return {"runs": list_runs(store), "a": a, "b": b, "comparison": found}


def pair_page(store: Store, query: Mapping[str, str]) -> PairPage:
    """Two samples side by side. Raises InputError."""
    before, after = (get_trace(store, find_sample(store, query.get(name, ""))) for name in ("a", "b"))
    return PairPage(before, after, _run(store, after.run_id).changes if after.origin == before.id else ())


def _around(store: Store, sample: str, query: Mapping[str, str]) -> Around:
    asked, of, at = Asked.of(query), query.get("of", ""), _number(query, "at")
    listed: list[str] = []
    first = max(0, (at or 0) - 1)
    if at is not None:
        with suppress(InputError):  # the address may have been edited
            found = list_samples(store, of or None, *asked, limit=3, offset=first)
            listed = [one.id for one in found.samples]
    if at is None or sample not in listed:
        # No list led here, or the sample has moved in it since.
        before, after = overview.neighbours(store, sample)
        return Around(Link(before) if before else None, Link(after) if after else None)
    here = listed.index(sample)
    links = {
        step: Link(listed[here + step], asked.address(of=of, at=first + here + step))
        for step in (-1, 1)
        if 0 <= here + step < len(listed)
    }
    return Around(links.get(-1), links.get(1), asked.address(page=at // PAGE + 1), of)


def _number(query: Mapping[str, str], name: str) -> int | None:
    value = query.get(name, "")
    return int(value) if value.isdecimal() and len(value) < 19 else None


def _run(store: Store, run_id: str) -> Run:
    run = find_run(store, run_id)
    if run is None:
        raise InputError(f"There is no run {run_id!r}.", where=store.path.name)
    return run


def _critics(run: Run, trace: Trace) -> list[str]:
    roles: Any = run.identity.get("roles", {})
    named = [role.removeprefix("critics.") for role in roles if role.startswith("critics.")]
    return list(dict.fromkeys([*(critique.critic for critique in trace.critiques if critique.round == 1), *named]))


def _waterfall(calls: Sequence[Call]) -> tuple[list[Bar], float]:
    """A bar for each call, and the seconds from the first one's start to the last one's end."""
    spans = [(_ended(call) - (0 if call.reused_from else call.reply.seconds), _ended(call)) for call in calls]
    begin = min((span[0] for span in spans), default=0.0)
    whole = max((span[1] for span in spans), default=0.0) - begin
    scale = 100 / whole if whole > 0 else 0.0
    return [
        Bar(call, (low - begin) * scale, max((high - low) * scale, 0.4), curl_of(call))
        for call, (low, high) in zip(calls, spans, strict=True)
    ], whole


def _ended(call: Call) -> float:
    return datetime.fromisoformat(call.created_at).timestamp() if call.created_at else 0.0


def curl_of(call: Call) -> str:
    """A curl command that repeats the call; the API key stays a shell variable."""
    messages = [message.model_dump() for message in call.messages]
    body = json.dumps(call.parameters | {"messages": messages}, ensure_ascii=False)
    return (
        'curl "$BASE_URL/chat/completions" -H "Authorization: Bearer $API_KEY" '
        f"-H 'Content-Type: application/json' -d {shlex.quote(body)}"
    )
