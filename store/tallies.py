"""Counts over a whole run, for plans and reports: one query each."""

from ..core.types import Value
from .database import Store
from .export import RowStage


class Tally(Value):
    """What became of a run's samples. `critiqued` have a critique, `refined` a refinement; both are done.

    `seconds` is the time from the first sample's start to the last one's end, pauses included.
    """

    samples: int
    done: int
    failed: int
    pending: int
    answered: int
    critiqued: int
    refined: int
    grades: int
    grades_failed: int
    seconds: float


def tally_run(store: Store, run_id: str) -> Tally:
    """All zero where there is no such run."""
    return Tally(**store.read(TALLY, {"run_id": run_id})[0])


TALLY = """
    WITH s AS (SELECT * FROM samples WHERE run_id = :run_id),
    d AS (SELECT * FROM s WHERE status = 'done'),
    g AS (SELECT met FROM grades JOIN d ON d.id = grades.sample_id)
    SELECT (SELECT count(*) FROM s) samples, (SELECT count(*) FROM d) done,
        (SELECT count(*) FROM s WHERE status = 'failed') failed,
        (SELECT count(*) FROM s WHERE status IN ('pending', 'running')) pending,
        (SELECT count(*) FROM s WHERE answer_id IS NOT NULL) answered,
        (SELECT count(DISTINCT sample_id) FROM critiques JOIN d ON d.id = critiques.sample_id) critiqued,
        (SELECT count(*) FROM d WHERE refined_answer_id IS NOT NULL) refined,
        (SELECT count(*) FROM g) grades, (SELECT count(*) FROM g WHERE met IS NULL) grades_failed,
        coalesce((SELECT round(86400 * (julianday(max(finished_at)) - julianday(min(started_at))), 3) FROM s), 0)
            seconds
"""


def count_rows(store: Store, run_id: str, stage: RowStage) -> int:
    """How many rows the run has for a stage; since finished samples do not change, as many rows are the same rows."""
    answer = "answer_id" if stage == "distill" else "refined_answer_id"
    sql = f"SELECT count(*) AS n FROM samples WHERE run_id = ? AND status = 'done' AND {answer} IS NOT NULL"  # noqa: S608
    return int(store.read(sql, (run_id,))[0]["n"])


def verdicts_of(store: Store, run_id: str) -> dict[str, dict[str, int]]:
    """Critic → verdict → how often, in the critics' order."""
    found: dict[str, dict[str, int]] = {}
    for row in store.read(VERDICTS, (run_id,)):
        found.setdefault(row["critic"], {})[row["verdict"]] = row["n"]
    return found


VERDICTS = """
    SELECT critic, verdict, count(*) AS n FROM critiques JOIN samples ON samples.id = sample_id
    WHERE run_id = ? AND status = 'done' GROUP BY critic, verdict ORDER BY min(position), critic, verdict"""
