"""The samples of two runs, matched one to one, and the queries of a comparison."""

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from ...core.comparison import Flip
from ...core.types import Verdict
from ..file.database import Store
from ..file.texts import get_texts


class Matches(NamedTuple):
    """Matching samples of two runs: how many there are, and how many are done in both, only the first or the second.

    `same_query` and `same_answer` count pairs done in both, by equal query and by equal final answer.
    """

    matched: int
    compared: int
    first_only: int
    second_only: int
    same_query: int
    same_answer: int


class Judged(NamedTuple):
    """The number of pairs with these two verdicts of a critic, each from the sample's last round."""

    critic: str
    before: Verdict
    after: Verdict
    pairs: int


class Texts(NamedTuple):
    """A pair done in both runs: the samples' ids and row keys, their final answers, and the verdicts that flipped."""

    first: str
    second: str
    rows: tuple[int, int]
    answers: tuple[str, str]
    flips: tuple[Flip, ...]


class Pairs:
    """The samples of two runs that match.

    A sample matches the one it was made from, else one made from the same sample, else one with the same key.
    """

    def __init__(self, store: Store, first: str, second: str) -> None:
        self.store = store
        self.runs = {"first": first, "second": second}

    def count(self) -> Matches:
        """How many pairs there are, by state."""
        return Matches(**self._read(COUNT)[0])

    def judged(self) -> list[Judged]:
        """Every combination of verdicts, for each critic that judged both samples of a pair."""
        return [Judged(**row) for row in self._read(JUDGED)]

    def draw(self, limit: int) -> list[Texts]:
        """`limit` pairs done in both, spread evenly over the run, and the same ones each time."""
        return self._texts(self._read(DRAW, limit=limit))

    def most_flipped(self, limit: int) -> list[Texts]:
        """The `limit` pairs with the most flips."""
        return self._texts(self._read(MOST_FLIPPED, limit=limit))

    def _read(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        return self.store.read(PAIRS + query, self.runs | parameters)

    def _texts(self, rows: list[dict[str, Any]]) -> list[Texts]:
        ids = {(row["a"], row["b"]): (row["a_answer"], row["b_answer"]) for row in rows}
        flips: dict[tuple[int, int], list[Flip]] = defaultdict(list)
        for row in self.store.read(FLIPS, (json.dumps(list(ids)),)):
            flips[row.pop("a"), row.pop("b")].append(Flip(**row))
        with self.store.reader() as db:
            texts = get_texts(db, (answer for both in ids.values() for answer in both))
        names = {(row["a"], row["b"]): (row["a_key"], row["b_key"]) for row in rows}
        return [
            Texts(
                f"{self.runs['first']}/{names[pair][0]}",
                f"{self.runs['second']}/{names[pair][1]}",
                pair,
                ("" if before is None else texts[before], "" if after is None else texts[after]),
                tuple(flips[pair]),
            )
            for pair, (before, after) in ids.items()
        ]


PAIRS = """
    WITH pair AS (
        SELECT a.id AS a, b.id AS b, a.key AS a_key, b.key AS b_key, a.rounds AS a_round, b.rounds AS b_round,
            a.status = 'done' AS a_done, b.status = 'done' AS b_done,
            coalesce(a.refined_answer_id, a.answer_id) AS a_answer,
            coalesce(b.refined_answer_id, b.answer_id) AS b_answer, a.query_id IS b.query_id AS same_query
        FROM samples b JOIN samples a ON a.run_id = :first AND a.key = coalesce(
            CASE WHEN instr(b.origin, :first || '/') = 1 THEN substr(b.origin, length(:first) + 2) END,
            (SELECT key FROM samples WHERE origin = :second || '/' || b.key AND run_id = :first),
            (SELECT key FROM samples WHERE origin = b.origin AND run_id = :first),
            b.key)
        WHERE b.run_id = :second)"""

COUNT = """
    SELECT count(*) AS matched, sum(a_done AND b_done) AS compared, sum(a_done AND NOT b_done) AS first_only,
        sum(b_done AND NOT a_done) AS second_only, sum(a_done AND b_done AND same_query) AS same_query,
        sum(a_done AND b_done AND a_answer IS b_answer) AS same_answer
    FROM pair"""

# `rounds` is the number of a sample's last round.
LAST = """
    FROM pair JOIN critiques x ON x.sample_id = a AND x.round = a_round
    JOIN critiques y ON y.sample_id = b AND y.round = b_round AND y.critic = x.critic
    WHERE a_done AND b_done"""

JUDGED = f"""
    SELECT x.critic, x.verdict AS before, y.verdict AS after, count(*) AS pairs {LAST}
    GROUP BY 1, 2, 3 ORDER BY min(x.position)"""

FLIPS = """
    SELECT a.id AS a, b.id AS b, x.critic, x.verdict AS before, y.verdict AS after FROM json_each(?) pair
    JOIN samples a ON a.id = pair.value ->> 0 JOIN samples b ON b.id = pair.value ->> 1
    JOIN critiques x ON x.sample_id = a.id AND x.round = a.rounds
    JOIN critiques y ON y.sample_id = b.id AND y.round = b.rounds AND y.critic = x.critic
    WHERE x.verdict <> y.verdict ORDER BY x.position"""

MOST_FLIPPED = f"""
    SELECT pair.* {LAST} AND x.verdict <> y.verdict GROUP BY a, b ORDER BY count(*) DESC, a LIMIT :limit"""

# Fibonacci hashing: 2654435761 is 2**32 divided by the golden ratio, and its multiples modulo 2**32 spread evenly
# (Knuth, The Art of Computer Programming, vol. 3, 6.4). Unlike random(), it draws the same pairs each time.
DRAW = "SELECT * FROM pair WHERE a_done AND b_done ORDER BY a * 2654435761 % 4294967296 LIMIT :limit"


def tokens_by_role(store: Store, samples: Iterable[int]) -> dict[int, dict[str, int]]:
    """Row key → role → prompt and completion tokens of all its calls, reused ones included."""
    tokens: dict[int, dict[str, int]] = defaultdict(dict)
    for row in store.read(TOKENS, (json.dumps(list(samples)),)):
        tokens[row["sample_id"]][row["role"]] = row["tokens"]
    return tokens


TOKENS = """
    SELECT sample_id, role, sum(tokens_in + tokens_out) AS tokens FROM calls
    WHERE sample_id IN (SELECT value FROM json_each(?)) GROUP BY sample_id, role"""
