"""Counts over a whole run, for plans and reports: one query each."""

from collections.abc import Iterator

from ...core.types import Value
from ..file.database import Store
from .export import RowStage


class Tally(Value):
    """A run's samples by outcome. `critiqued` and `refined` count finished samples with a critique or a refinement.

    `seconds` is the time from the first sample's start to the last one's end, pauses included.
    """

    samples: int
    done: int
    failed: int
    rejected: int
    pending: int
    answered: int
    critiqued: int
    refined: int
    grades: int
    grades_failed: int
    seconds: float


def tally_run(store: Store, run_id: str) -> Tally:
    """All counts are 0 if there is no such run."""
    return Tally(**store.read(TALLY, {"run_id": run_id})[0])


# A comparison is 0 or 1 in SQLite, so sum() counts the rows for which it is true.
TALLY = """
    WITH g AS (SELECT met FROM grades JOIN samples ON samples.id = sample_id WHERE run_id = :run_id AND status = 'done')
    SELECT count(*) samples, coalesce(sum(status = 'done'), 0) done, coalesce(sum(status = 'failed'), 0) failed,
        coalesce(sum(status = 'rejected'), 0) rejected,
        coalesce(sum(status IN ('pending', 'running')), 0) pending, count(answer_id) answered,
        coalesce(sum(status = 'done' AND EXISTS (SELECT 1 FROM critiques WHERE sample_id = s.id)), 0) critiqued,
        coalesce(sum(status = 'done' AND refined_answer_id IS NOT NULL), 0) refined,
        (SELECT count(*) FROM g) grades, (SELECT count(*) FROM g WHERE met IS NULL) grades_failed,
        coalesce(round(86400 * (julianday(max(finished_at)) - julianday(min(started_at))), 3), 0) seconds
    FROM samples s WHERE run_id = :run_id"""


def count_rows(store: Store, run_id: str, stage: RowStage) -> int:
    """How many rows the run has for a stage; finished samples never change, so an equal count means equal rows."""
    answer = "answer_id" if stage == "distill" else "refined_answer_id"
    sql = f"SELECT count(*) AS n FROM samples WHERE run_id = ? AND status = 'done' AND {answer} IS NOT NULL"  # noqa: S608
    return int(store.read(sql, (run_id,))[0]["n"])


def verdicts_of(store: Store, run_id: str) -> dict[str, dict[str, int]]:
    """Critic → verdict → number of critiques, in the critics' order."""
    found: dict[str, dict[str, int]] = {}
    for row in store.read(VERDICTS, (run_id,)):
        found.setdefault(row["critic"], {})[row["verdict"]] = row["n"]
    return found


VERDICTS = """
    SELECT critic, verdict, count(*) AS n FROM critiques JOIN samples ON samples.id = sample_id
    WHERE run_id = ? AND status = 'done' GROUP BY critic, verdict ORDER BY min(position), critic, verdict"""


def judged_answers(store: Store, run_id: str, limit: int) -> Iterator[tuple[str, str, str]]:
    """(critic, verdict, rationale) of round 1 in up to `limit` finished samples, in the critics' order."""
    for row in store.read(JUDGED, (run_id, limit)):
        yield row["critic"], row["verdict"], row["rationale"]


JUDGED = """
    SELECT critic, verdict, body AS rationale FROM
        (SELECT id FROM samples WHERE run_id = ? AND status = 'done' ORDER BY id LIMIT ?) AS s
    JOIN critiques ON sample_id = s.id AND round = 1 JOIN texts ON texts.id = rationale_id
    ORDER BY position, s.id"""
