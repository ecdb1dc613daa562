"""What the page of an evaluation shows: its scores, and where it lost points."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.errors import InputError, MuserError
from ..store.file.database import Store
from ..store.queries.losses import Losses, find_losses
from ..store.records.runs import list_runs

Scorer = Callable[[str], Mapping[str, Any]]
"""An evaluation run → its report as JSON values; passed in, because the viewer must not import `evals`."""

SHOWN = 20
"""Criteria and examples on an evaluation's page."""


@dataclass(frozen=True)
class ScoresPage:
    """An evaluation's scores by name and where it lost points; `problem` says why there are no scores."""

    run: str
    others: Sequence[str]
    losses: Losses
    scores: Sequence[tuple[str, Mapping[str, Any]]]
    problem: str = ""


def scores_page(store: Store, scorer: Scorer | None, run_id: str, query: Mapping[str, str]) -> ScoresPage:
    """An evaluation's page, with what got worse since the run in `against`. Raises InputError."""
    evaluations = [line.id for line in list_runs(store) if line.kind == "evaluation"]
    if run_id not in evaluations:
        raise InputError(f"There is no evaluation run {run_id!r}.")
    others = [one for one in evaluations if one != run_id]
    against = query.get("against", "")
    losses = find_losses(store, run_id, against=against if against in others else None, shown=SHOWN)
    try:
        report = scorer(run_id) if scorer else {}
    except MuserError as error:
        # For example, the benchmark's file is gone; what lost points is in the store.
        return ScoresPage(run_id, others, losses, (), problem=str(error))
    named = {"overall": report.get("overall"), "overall, length-adjusted": report.get("length_adjusted")}
    tags = {**report.get("rubric_tags", {}), **report.get("example_tags", {})}
    named |= {tag: tags[tag] for tag in sorted(tags) if tag.startswith(("axis:", "theme:"))}
    return ScoresPage(run_id, others, losses, [(name, score) for name, score in named.items() if score])
