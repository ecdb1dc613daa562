"""A run's finished responses, as inputs for another run, and what its judge decided about them."""

from collections.abc import Iterator
from contextlib import closing

from ...core.types import SampleInput
from ..file.database import Store
from ..records.samples import get_trace


def answered(store: Store, run_id: str) -> Iterator[SampleInput]:
    """The run's finished samples with a query and a response: same keys, `origin` set to the sample's id."""
    sql = "SELECT key FROM samples WHERE run_id = ? AND status = 'done' AND answer_id IS NOT NULL ORDER BY id"
    with closing(store.stream(sql, (run_id,))) as keys:
        for (key,) in keys:
            trace = get_trace(store, f"{run_id}/{key}")
            yield SampleInput(
                key=key,
                persona=trace.persona,
                history=trace.history,
                query=trace.query,
                response=trace.response,
                extra=trace.extra,
                origin=trace.id,
            )


def grades_of(store: Store, run_id: str) -> Iterator[tuple[str, int, int, bool | None]]:
    """(key, a number that stands for the answer's text, rubric item, verdict) of every grade of finished samples."""
    sql = """
        SELECT key, answer_id, item, met FROM samples JOIN grades ON sample_id = samples.id
        WHERE run_id = ? AND status = 'done' ORDER BY samples.id, item"""
    with closing(store.stream(sql, (run_id,))) as rows:
        for key, answer, item, met in rows:
            yield key, answer, item, None if met is None else bool(met)
