"""Top-up: adds samples to a finished run until every pair of values has enough of them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from ..core.types import SampleInput
from ..prompts.attributes import AttributeTables
from ..store.file.database import Store
from ..store.records.samples import TOPPED_UP
from .progress import Summary

if TYPE_CHECKING:
    from ..prompts.joint import Joint

ROUNDS = 5
"""Most plans of one command. Another plan is needed where samples that should fill a gap failed or were rejected."""

RunMore = Callable[[Sequence[SampleInput]], Awaitable[Summary]]
"""Adds samples to the run and runs them."""


async def top_up_run(store: Store, tables: AttributeTables, summary: Summary, run_more: RunMore) -> Summary:
    """Fills the cells that are short (screens/coverage.py), and returns how the run stands then.

    A plan depends on the accepted samples alone, so a run that was stopped resumes with the personas that it lacks. A
    run with pending samples is returned as it is.
    """
    from ..prompts.joint import joint_of

    joint = await asyncio.to_thread(joint_of, tables)
    for _ in range(ROUNDS):
        if summary.pending:
            break
        inputs = await asyncio.to_thread(plan_inputs, store, summary.run_id, tables, joint)
        if not inputs:
            break
        summary = await run_more(inputs)
    return summary


def plan_inputs(store: Store, run_id: str, tables: AttributeTables, joint: "Joint") -> list[SampleInput]:
    """Samples t000001 and on, or after those that the run has, with the personas that fill what is short."""
    from ..prompts.sampling import machine_of
    from ..screens.coverage import cells_of
    from ..screens.top_up import plan_top_up

    sql = "SELECT count(*) AS n FROM samples WHERE run_id = ? AND key GLOB ?"
    there = int(store.read(sql, (run_id, TOPPED_UP))[0]["n"])
    personas = plan_top_up(cells_of(store, run_id, joint), machine_of(tables).contradicts)
    return [SampleInput(key=f"t{n:06d}", persona=persona) for n, persona in enumerate(personas, start=there + 1)]
