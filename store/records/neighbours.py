"""The index of similar queries: each draw of a run is added, and the draws that are near it are returned.

Texts that could be near one another share a bucket; whoever makes the sketches chooses the buckets. A lookup reads only
the buckets of one text, however large the run is.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from sqlite3 import Connection

from ..file.database import Store
from .samples import row_id


@dataclass(frozen=True)
class Sketch:
    """What the index keeps of a text. Equal hashes mean equal texts; `data` is what the similarity is computed from.

    `hash` and `buckets` differ between kinds of similarity, which share the index. Buckets are below 2**63. `outline`,
    of 63 bits, is in each bucket: of outlines that differ in many bits, the data is not even read.
    """

    hash: bytes
    data: bytes = b""
    buckets: tuple[int, ...] = ()
    outline: int = 0


Similarity = Callable[[bytes, Sequence[bytes]], Sequence[float]]
"""(a sketch's data, those of others) → how similar each is, from 0 to 1."""


@dataclass(frozen=True)
class Near:
    """Which texts count as near: those whose similarity is at least `least`.

    `bits`: in how many bits their outlines may differ.
    """

    similarity: Similarity
    least: float
    bits: int = 0


@dataclass(frozen=True)
class Neighbour:
    """A near draw of another sample; `lower`: that sample's number is lower. Equal texts have the similarity 1."""

    sample_id: str
    draw: int
    similarity: float
    lower: bool


async def add_draw(
    store: Store, sample_id: str, draw: int, sketch: Sketch, near: Near | None = None
) -> list[Neighbour]:
    """Add a draw and return its neighbours in the run, the most similar first; both in one transaction.

    Of the draws of one text, only the lowest-numbered sample is returned if its number is lower than this one's, else
    all: a draw above a lower one is that one's duplicate already. Without `near`, only equal texts are neighbours.
    Adding a draw again changes nothing and returns its neighbours as of now.
    """
    return await store.write(lambda db: _add(db, sample_id, draw, sketch, near))


def _add(db: Connection, sample_id: str, draw: int, sketch: Sketch, near: Near | None) -> list[Neighbour]:
    sample, run_id = row_id(db, sample_id), sample_id.rpartition("/")[0]
    run = _run(db, run_id)
    own = _put(db, run, sketch)
    db.execute("INSERT OR IGNORE INTO sketched_draws VALUES (?, ?, ?)", (own, sample, draw))
    likeness = {own: 1.0} | (_near(db, run, own, sketch, near) if near else {})
    found = [
        Neighbour(f"{run_id}/{key}", other, likeness[text], number < sample)
        for text in likeness
        for number, key, other in _drawn(db, text, sample)
    ]
    # The sort is stable, and `likeness` has the texts in the order in which they were added.
    return sorted(found, key=lambda one: -one.similarity)


def _run(db: Connection, run_id: str) -> int:
    found = db.execute("SELECT id FROM sketched_runs WHERE run_id = ?", (run_id,)).fetchone()
    if found is None:
        found = db.execute("INSERT INTO sketched_runs (run_id) VALUES (?) RETURNING id", (run_id,)).fetchone()
    return int(found[0])


def _put(db: Connection, run: int, sketch: Sketch) -> int:
    """The sketch's id; stores it, and notes its buckets, if it is new."""
    found = db.execute("SELECT id FROM sketches WHERE run = ? AND hash = ?", (run, sketch.hash)).fetchone()
    if found is not None:
        return int(found[0])
    row = (run, sketch.hash, sketch.data)
    made = int(db.execute("INSERT INTO sketches (run, hash, data) VALUES (?, ?, ?) RETURNING id", row).fetchone()[0])
    rows = ((run, key, made, sketch.outline) for key in set(sketch.buckets))
    db.executemany("INSERT INTO sketch_buckets VALUES (?, ?, ?, ?)", rows)
    return made


def _near(db: Connection, run: int, own: int, sketch: Sketch, near: Near) -> dict[int, float]:
    """Sketch → its similarity, for the others that share a bucket and are near."""
    sharing: set[int] = set()
    for key in set(sketch.buckets):
        rows = db.execute(SHARING, (run, key))
        sharing.update(i for i, outline in rows if (outline ^ sketch.outline).bit_count() <= near.bits)
    others = sorted(sharing - {own})
    if not others:
        return {}
    stored = [db.execute("SELECT data FROM sketches WHERE id = ?", (i,)).fetchone()[0] for i in others]
    alike = near.similarity(sketch.data, stored)
    return {i: float(value) for i, value in zip(others, alike, strict=True) if value >= near.least}


SHARING = "SELECT sketch, outline FROM sketch_buckets WHERE run = ? AND key = ?"


def _drawn(db: Connection, text: int, sample: int) -> Iterator[tuple[int, str, int]]:
    """(number, key, draw) of the other samples that drew a text; the lowest alone if its number is lower."""
    for number, key, draw in db.execute(DRAWN, (text, sample)):
        yield number, key, draw
        if number < sample:
            return


DRAWN = """
    SELECT sample_id, key, sketched_draws.draw FROM sketched_draws JOIN samples ON samples.id = sample_id
    WHERE sketch = ? AND sample_id <> ? ORDER BY sample_id, sketched_draws.draw"""
