"""A run's finished responses, as inputs for another run."""

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
