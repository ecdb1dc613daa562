"""Accounts of a run's critics: how often each asked for a revision, and what became of its plans."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import get_args

from ...core.repetition import words_of
from ...core.types import Value, Verdict
from ..file.database import Store
from ..file.texts import get_texts
from ..records.runs import latest_run

READ = 1_000
"""Default number of refined samples whose texts are read: enough for a share, and as fast in a run of any size."""


class Revisions(Value):
    """Answers that a critic judged, and of those the ones that it asked to revise."""

    answers: int
    """answers that it judged"""
    revised: int
    """answers for which it asked for a revision"""


class CriticAccount(Value):
    """What one critic did in a run. Words are compared on up to 1,000 refined samples, without case and punctuation.

    New words are those of the refined answer that are neither in the query nor in the response. Shares are pooled over
    the samples.
    """

    critic: str
    first: Revisions
    """its verdicts on first answers, those of round 1"""
    by: dict[str, dict[str, Revisions]]
    """the same by attribute and value of the persona, most frequent value first"""
    from_plan: float | None
    """share of the refined answers' new words that its rationales have"""
    by_chance: float | None
    """the same with its rationales about another sample: what two texts on medicine share anyway"""
    taken_up: float | None
    """share of its rationales' own new words that the refined answers have"""
    added_if_revise: float | None
    """words by which refining lengthened the answers that it asked to revise, on average"""
    added_if_pass: float | None
    """words by which refining lengthened the answers that it passed, on average"""


class Stability(Value):
    """Verdicts of one critic on the same answers, asked again with other seeds."""

    critic: str
    asked_again: int
    """verdicts of the repeated requests"""
    same: int
    """those equal to the first verdict"""


def critic_accounts(store: Store, run_id: str, *, read: int = READ) -> tuple[CriticAccount, ...]:
    """One account a critic, in the recipe's order, with the words of up to `read` samples; none without critics."""
    judged: dict[str, list[_Refined]] = defaultdict(list)
    for sample in _refined(store, run_id, read):
        for critic in sample.verdicts:
            judged[critic].append(sample)
    return tuple(
        CriticAccount(critic=critic, first=by.pop("")[""], by=by, **_shares(critic, judged[critic]))
        for critic, by in _revisions(store, run_id).items()
    )


def stability(store: Store, run_id: str) -> tuple[Stability, ...]:
    """How stable the critics' verdicts are; empty until `muser critics RUN --reask N` has asked again."""
    again = latest_run(store, reask_name(run_id))
    rows = store.read(AGAIN, {"run": run_id, "again": again.id}) if again else []
    return tuple(Stability(**row) for row in rows)


def reask_name(run_id: str) -> str:
    """The name of the run in which a run's critics are asked again."""
    return f"{run_id}-reask"


AGAIN = """
    SELECT y.critic, count(*) AS asked_again, sum(x.verdict = y.verdict) AS same
    FROM samples b JOIN samples a ON a.run_id = :run AND b.origin = :run || '/' || a.key
    JOIN critiques x ON x.sample_id = a.id AND x.round = 1
    JOIN critiques y ON y.sample_id = b.id AND y.round = 1 AND y.critic = x.critic
    WHERE b.run_id = :again AND b.status = 'done' GROUP BY y.critic ORDER BY min(x.position), y.critic"""


def _revisions(store: Store, run_id: str) -> dict[str, dict[str, dict[str, Revisions]]]:
    """Critic → attribute → value → revisions; the attribute "" has the total."""
    found: dict[str, dict[str, dict[str, Revisions]]] = {}
    for row in store.read(REVISIONS, (run_id,)):
        values = found.setdefault(row["critic"], {}).setdefault(row["name"], {})
        values[row["value"]] = Revisions(answers=row["answers"], revised=row["revised"])
    return found


REVISIONS = """
    WITH judged AS (
        SELECT critic, position, verdict = 'revise' AS revised, persona FROM critiques
        JOIN samples ON samples.id = sample_id WHERE run_id = ? AND status = 'done' AND round = 1)
    SELECT critic, '' AS name, '' AS value, count(*) AS answers, sum(revised) AS revised, min(position) AS place
    FROM judged GROUP BY critic
    UNION ALL
    SELECT critic, one.key, one.value, count(*) AS answers, sum(revised), 1000 + min(one.id)
    FROM judged, json_each(persona) one GROUP BY critic, one.key, one.value
    ORDER BY place, answers DESC, value"""


@dataclass(frozen=True)
class _Refined:
    """A refined sample's words: `known` from query and response, `new` in the refined answer, and each critic's."""

    known: frozenset[str]
    new: frozenset[str]
    added: int
    verdicts: dict[str, Verdict]
    rationales: dict[str, frozenset[str]]


def _refined(store: Store, run_id: str, read: int) -> Iterator[_Refined]:
    rows = store.read(REFINED, (run_id, read))
    critiques: dict[int, list[tuple[str, Verdict, int, int]]] = defaultdict(list)
    for row in store.read(CRITIQUES, (json.dumps([row["id"] for row in rows]),)):
        critiques[row["sample_id"]].append((row["critic"], row["verdict"], row["round"], row["rationale_id"]))
    for row in rows:
        said = critiques[row["id"]]
        wanted = [row["query_id"], row["answer_id"], row["refined_answer_id"], *(one[3] for one in said)]
        with store.reader() as db:
            texts = get_texts(db, wanted)
        words = {number: words_of(text) for number, text in texts.items()}
        known = frozenset(words[row["query_id"]]) | frozenset(words[row["answer_id"]])
        rationales: dict[str, frozenset[str]] = defaultdict(frozenset)
        for critic, _, _, rationale in said:
            rationales[critic] |= frozenset(words[rationale])
        yield _Refined(
            known=known,
            new=frozenset(words[row["refined_answer_id"]]) - known,
            added=len(words[row["refined_answer_id"]]) - len(words[row["answer_id"]]),
            verdicts={critic: verdict for critic, verdict, number, _ in said if number == 1},
            rationales=dict(rationales),
        )


REFINED = """
    SELECT id, query_id, answer_id, refined_answer_id FROM samples WHERE run_id = ? AND status = 'done'
    AND query_id IS NOT NULL AND answer_id IS NOT NULL AND refined_answer_id IS NOT NULL ORDER BY id LIMIT ?"""

CRITIQUES = """
    SELECT sample_id, critic, verdict, round, rationale_id FROM critiques
    WHERE sample_id IN (SELECT value FROM json_each(?)) ORDER BY sample_id, round, position"""


def _shares(critic: str, samples: Sequence[_Refined]) -> dict[str, float | None]:
    """The fields of an account that come from texts."""
    own = sum(len(sample.new & sample.rationales[critic]) for sample in samples)
    # Each sample's refined answer against the rationale about the sample before it; the first one's against the last's.
    before = [*samples[-1:], *samples[:-1]] if len(samples) > 1 else []
    others = sum(len(one.new & other.rationales[critic]) for one, other in zip(samples, before, strict=False))
    new = sum(len(sample.new) for sample in samples)
    planned = sum(len(sample.rationales[critic] - sample.known) for sample in samples)
    added: dict[Verdict, list[int]] = {
        verdict: [sample.added for sample in samples if sample.verdicts[critic] == verdict]
        for verdict in get_args(Verdict)
    }
    return {
        "from_plan": own / new if new else None,
        "by_chance": others / new if new and before else None,
        "taken_up": own / planned if planned else None,
        "added_if_revise": fmean(added["revise"]) if added["revise"] else None,
        "added_if_pass": fmean(added["pass"]) if added["pass"] else None,
    }
