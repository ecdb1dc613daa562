"""A run's finished responses, to be handed on as the inputs of another run."""

from collections.abc import Iterator
from contextlib import closing

from ...core.types import SampleInput
from ..file.database import Store
from ..records.samples import get_trace


def answered(store: Store, run_id: str) -> Iterator[SampleInput]:
    """The run's finished samples with query and response, under the same keys, each with the sample it comes from."""
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
