"""Rejections: the draws that a screen refused, what replaces them, and how many samples a run still has to add."""

from collections.abc import Callable, Iterable
from sqlite3 import Connection

from ...core.errors import Rejected
from ...core.hashing import derive_seed
from ...core.types import Persona, SampleInput, Value
from ..file.database import Store, now
from ..file.texts import put_texts, readable
from .history import drop_threads
from .samples import DRAWN, Trace, add_in, dump_persona, get_trace, row_id


class ScreenTally(Value):
    """How many draws of a run a screen rejected."""

    screen: str
    """the screen's name"""
    draws: int
    """draws that it rejected"""


async def reject(store: Store, sample_id: str, rejected: Rejected, persona: Persona | None) -> Trace:
    """Record the rejection of a sample's draw. With a `persona` the sample starts over with it, else it is rejected."""

    def change(db: Connection) -> None:
        sample = row_id(db, sample_id)
        text = put_texts(db, [rejected.text])[rejected.text]
        noted = (sample, rejected.stage, rejected.screen, readable(rejected.what), text, now())
        db.execute(NOTE, noted)
        drop_threads(db, [sample])
        if persona is None:
            db.execute(REJECT, (now(), sample))
        else:
            draw, seed = db.execute("SELECT draw + 1, seed FROM samples WHERE id = ?", (sample,)).fetchone()
            db.execute(REDRAW, (draw, derive_seed(seed, "draw", draw), dump_persona(persona), sample))
            # A sample that was done before it was overtaken has critiques, which the critics would not repeat.
            db.execute("DELETE FROM critiques WHERE sample_id = ?", (sample,))

    await store.write(change)
    return get_trace(store, sample_id)


NOTE = """
    INSERT OR REPLACE INTO rejections (sample_id, draw, stage, screen, reason, persona, text_id, created_at)
    SELECT id, draw, ?2, ?3, ?4, persona, ?5, ?6 FROM samples WHERE id = ?1"""

CLEARED = "overtaken = NULL, checkpoint_id = NULL, cause_kind = NULL, cause = NULL, failed_node = NULL"

REJECT = f"UPDATE samples SET status = 'rejected', finished_at = ?, worker = NULL, {CLEARED} WHERE id = ?"  # noqa: S608

REDRAW = f"""
    UPDATE samples SET draw = ?, seed = ?, persona = ?, query_id = NULL, reasoning_id = NULL, answer_id = NULL,
        refined_reasoning = NULL, refined_answer_id = NULL, rounds = 0, {CLEARED} WHERE id = ?"""  # noqa: S608


async def overtake(store: Store, sample_id: str, draw: int, screen: str, reason: str) -> None:
    """Note that a screen rejects this draw, if it is still the sample's; a sample that is done becomes pending."""

    def change(db: Connection) -> None:
        db.execute(OVERTAKE, {"id": row_id(db, sample_id), "draw": draw, "overtaken": f"{screen}: {reason}"})

    await store.write(change)


OVERTAKE = """
    UPDATE samples SET overtaken = :overtaken, status = CASE status WHEN 'done' THEN 'pending' ELSE status END,
        finished_at = CASE status WHEN 'done' THEN NULL ELSE finished_at END
    WHERE id = :id AND draw = :draw AND status <> 'rejected'"""


def replace_rejected(
    store: Store, run_id: str, wanted: int, most: int, seed: int, make: Callable[[int], SampleInput]
) -> int:
    """Add simulated samples until `wanted` of them are not rejected, numbered on, at most up to the number `most`."""

    def change(db: Connection) -> int:
        kept, last = (db.execute(sql, (run_id, DRAWN)).fetchone()[0] for sql in (KEPT, LAST))
        numbers = range(last + 1, min(last + wanted - kept, most) + 1)
        return sum(add_in(db, run_id, make(number), seed) for number in numbers)

    return store.write_now(change)


LAST = "SELECT coalesce(max(CAST(substr(key, 2) AS INTEGER)), 0) FROM samples WHERE run_id = ? AND key GLOB ?"


def count_kept(store: Store, run_id: str) -> int:
    """How many simulated samples are not rejected."""
    return int(store.read(KEPT, (run_id, DRAWN))[0]["n"])


KEPT = "SELECT count(*) AS n FROM samples WHERE run_id = ? AND key GLOB ? AND status <> 'rejected'"


def tally_screens(store: Store, run_id: str) -> tuple[ScreenTally, ...]:
    """How many draws each screen rejected, most first."""
    rows: Iterable[dict[str, object]] = store.read(TALLY, (run_id,))
    return tuple(ScreenTally.model_validate(row) for row in rows)


TALLY = """
    SELECT screen, count(*) AS draws FROM rejections JOIN samples ON samples.id = sample_id WHERE run_id = ?
    GROUP BY screen ORDER BY draws DESC, screen"""
