"""Why a sample turned out the way it did: one sentence and the evidence for it, read from the sample's rows."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import cast

from ...core.breakage import Broken, quote_break
from ...core.documents import parse_document
from ...core.types import Critique, Grade, Value
from ...core.word_diff import word_diff
from ..file.database import Store
from ..records.ledger import Call, calls_of, tokens_spent
from ..records.runs import Run, find_run
from ..records.samples import Trace, get_trace
from ..records.workers import workers_of

ROLES = {"persona": "persona", "respond": "responder", "refine": "refiner", "grade": "judge"}
"""The role of each node; every other node is a critic."""

LONGEST = 240
"""Maximum length of a quotation, in characters."""

MOST = 3
"""Maximum number of the refiner's changes, or of a grade's criteria, that are quoted."""


class Evidence(Value):
    """One piece of evidence."""

    what: str
    quote: str = ""
    """what the model wrote, shortened"""
    call: int | None = None
    """the number of the sample's call in which it did, from 1"""
    broken: Broken | None = None
    """an unusable reply around the place where it broke; none if it did not break at one place"""


class Reason(Value):
    """Why a sample is in its present state. `facts` add its origin, retries, repairs and reused calls."""

    sample: str
    status: str
    answer: str
    evidence: tuple[Evidence, ...] = ()
    facts: tuple[str, ...] = ()


def explain(store: Store, sample_id: str) -> Reason:
    """Why the sample is in its present state. InputError if there is no such sample."""
    trace, calls = get_trace(store, sample_id), calls_of(store, sample_id)
    # Never None: samples.run_id is a foreign key.
    run = cast("Run", find_run(store, trace.run_id))
    if trace.status == "failed":
        answer, evidence = _failed(trace, calls)
    elif trace.status == "running":
        answer, evidence = _running(store, trace, calls)
    elif trace.status == "rejected":
        answer, evidence = _rejected(trace)
    elif trace.status == "pending":
        answer, evidence = _pending(store, trace, calls, run)
    else:
        answer, evidence = _graded(trace) if trace.grades else _done(trace, calls, run)
    facts = tuple(_facts(store, trace, calls, run))
    return Reason(sample=trace.id, status=trace.status, answer=answer, evidence=tuple(evidence), facts=facts)


def _rejected(trace: Trace) -> tuple[str, Iterator[Evidence]]:
    drawn = len(trace.rejections)
    last = trace.rejections[-1]
    times = f" in each of {drawn} draws, in the last" if drawn > 1 else ""
    answer = f"Rejected{times} by the screen {last.screen}: {last.reason}."
    return answer, (
        Evidence(what=f"draw {one.draw}, {one.screen}: {one.reason}", quote=_shortened(one.text))
        for one in trace.rejections
    )


def _done(trace: Trace, calls: Sequence[Call], run: Run) -> tuple[str, Iterator[Evidence]]:
    if not trace.critiques:
        return "The response is the final answer: the recipe has no critics.", iter(())
    last = max(c.round for c in trace.critiques)
    spoke = [c for c in trace.critiques if c.round == last]
    revising = [c for c in spoke if c.verdict == "revise"]
    when = run.identity.get("refine_when")
    if trace.refinement is None and when == "never":
        answer = "Not refined: the recipe only criticises (refine_when: never)."
    elif trace.refinement is None:
        answer = "Not refined: every critic passed the response (refine_when: any_revise)."
    elif last > 1 and not revising and when == "any_revise":
        answer = f"Refined until every critic passed the response, in round {last}."
        revising = [c for c in trace.critiques if c.round == last - 1 and c.verdict == "revise"]
    elif revising:
        passing = [c.critic for c in spoke if c.verdict == "pass"]
        let = f", {_names(passing)} passed it" if passing else ""
        who = _names([c.critic for c in revising]) if passing or len(revising) == 1 else "every critic"
        answer = f"Refined: {who} asked for a revision{let}" + (f" (still in round {last})." if last > 1 else ".")
    else:
        answer = "Refined although every critic passed the response (refine_when: always)."
    return " ".join([answer, *_change(trace)]), _critics_and_refiner(trace, calls, revising or spoke)


def _critics_and_refiner(trace: Trace, calls: Sequence[Call], critiques: Sequence[Critique]) -> Iterator[Evidence]:
    for c in critiques:
        number = _number(calls, f"critics.{c.critic}", c.round)
        yield Evidence(what=f"critic {c.critic}, {c.verdict}", quote=_sentence(c.rationale), call=number)
    if trace.response and trace.refinement:
        changed = [step for step in word_diff(trace.response.answer, trace.refinement.answer) if step[0] != "same"]
        largest = sorted(changed, key=lambda step: -len(step[1]))[:MOST]
        for change, words in [step for step in changed if step in largest]:
            what = "refiner added" if change == "in" else "refiner removed"
            yield Evidence(what=what, quote=_shortened(words), call=_number(calls, "refiner"))


def _change(trace: Trace) -> Iterator[str]:
    """How many words the refiner kept and added."""
    if trace.response and trace.refinement:
        count = {"same": 0, "in": 0, "out": 0}
        for change, words in word_diff(trace.response.answer, trace.refinement.answer):
            count[change] += len(words.split())
        whole = count["same"] + count["out"]
        if count["in"] + count["out"]:
            yield f"{count['same']} of {whole} words kept, {count['in']} added."
        else:
            yield "The refiner left the text unchanged."


def _graded(trace: Trace) -> tuple[str, Iterator[Evidence]]:
    failed = [g for g in trace.grades if g.met is None]
    met = [g for g in trace.grades if g.met]
    if failed:
        answer = f"No score: the judge failed on {len(failed)} of {len(trace.grades)} criteria."
    else:
        possible = sum(g.points for g in trace.grades if g.points > 0)
        answer = f"Scored {trace.score:.3g}: {sum(g.points for g in met):g} of {possible:g} points."
    lost = [g for g in trace.grades if g.met is not None and g.met is (g.points < 0)]
    costly = failed or sorted(lost, key=lambda g: -abs(g.points))[:MOST]
    said = {True: "met", False: "not met", None: "the judge failed"}
    return answer, (
        Evidence(
            what=f"criterion {_criterion(trace, g)}, {g.points:+g} points: {said[g.met]}",
            quote=_shortened(g.explanation),
        )
        for g in costly
    )


def _criterion(trace: Trace, grade: Grade) -> str:
    item = trace.item_of(grade)
    if item is None:
        return str(grade.item)
    return f"{grade.item} (“{_shortened(item.criterion)}”)" + (f", {item.axis}" if item.axis else "")


def _failed(trace: Trace, calls: Sequence[Call]) -> tuple[str, Iterator[Evidence]]:
    node, (kind, _, outcome) = trace.failed_node or "", (trace.cause_kind or "").partition(".")
    role = ROLES.get(node, f"critics.{node}")
    first, *rest = (trace.cause or "no cause was recorded").splitlines()
    in_the_end = {call.round for call in calls if call.role == role and call.outcome in ("ok", "prose")}
    useless = [
        (number, call)
        for number, call in enumerate(calls, 1)
        if call.role == role and call.round not in in_the_end and not call.superseded
    ]

    def evidence() -> Iterator[Evidence]:
        for number, call in useless:
            ended = f"finish reason {call.reply.finish_reason}" if call.reply.finish_reason else "no finish reason"
            what = f"{role}, attempt {call.attempt}: {_words(call.outcome)}, {ended}"
            quote, broken = _shortened(call.reply.text or call.reply.reasoning), _broken(call)
            yield Evidence(what=what, quote=quote, call=number, broken=broken)
        if kind.startswith("Endpoint"):
            yield Evidence(what=f"no reply from {role}: the request failed")
        yield from (Evidence(what=line.strip()) for line in rest)

    where = f" at {node}" if node else ""
    if kind == "ReplyError" and useless:
        repairs = len(useless) - 1
        after = f" after {repairs} repair{'s' * (repairs > 1)}" if repairs else ", no repair allowed"
        if outcome == "refusal":
            after = ": the server's content filter stopped it, and refusals are not retried"
        return f"Failed{where}: no usable reply from {role} ({_words(outcome)}{after}).", evidence()
    return f"Failed{where}: {kind or 'an error'}: {first}", evidence()


def _running(store: Store, trace: Trace, calls: Sequence[Call]) -> tuple[str, Iterator[Evidence]]:
    at_work = [worker for worker in workers_of(store, trace.run_id) if worker.id == trace.worker]
    if at_work:
        return f"Running in process {at_work[0].pid} since {trace.started_at}.", _so_far(calls)
    return "Its process was killed. Rerun the command: the sample resumes from its last checkpoint.", _so_far(calls)


def _pending(store: Store, trace: Trace, calls: Sequence[Call], run: Run) -> tuple[str, Iterator[Evidence]]:
    limits = parse_document(run.recipe, "recipe").data.get("limits") or {}
    spent, allowed = tokens_spent(store, run.id), limits.get("tokens")
    begun = "Started, now pending" if trace.started_at else "Pending, not started yet"
    if trace.tries:
        begun = "Failed, now pending a retry"
    if workers_of(store, run.id):
        return f"{begun}: the run is in progress.", _so_far(calls)
    if allowed and spent >= allowed:
        return f"{begun}: the run has used {spent:,} tokens and its limit is {allowed:,}.", _so_far(calls)
    why = ": the run was stopped, or its endpoint stopped responding" if run.finished_at else ""
    return f"{begun}{why}. Rerun the command to resume.", _so_far(calls)


def _so_far(calls: Sequence[Call]) -> Iterator[Evidence]:
    if calls:
        last = calls[-1]
        what = f"calls so far: {len(calls)}; last call: {last.role}, {_words(last.outcome)}"
        yield Evidence(what=what, call=len(calls), broken=_broken(last))
    else:
        yield Evidence(what="no calls so far")


def _broken(call: Call) -> Broken | None:
    return quote_break(call.reply.text, call.outcome)


def _facts(store: Store, trace: Trace, calls: Sequence[Call], run: Run) -> Iterator[str]:
    if run.parent and run.node:
        changes = "; ".join(run.changes) or "nothing changed"
        yield f"forked from {trace.origin}, rerun from {run.node}: {changes}"
    elif trace.origin:
        yield f"made from {trace.origin}"
    if trace.tries and not run.parent:
        before = sum(call.superseded > 0 for call in calls)
        yield f"retried {trace.tries} ×; unusable replies of earlier attempts: {before}"
    if trace.status == "done":
        spoilt = Counter(call.role for call in calls if call.outcome not in ("ok", "prose") and not call.superseded)
        if spoilt:
            yield f"repaired replies: {', '.join(f'{role} {count} ×' for role, count in spoilt.items())}"
    reused = [call.reused_from for call in calls if call.reused_from is not None]
    if reused:
        runs = {row["run_id"] for row in store.read(SOURCES, (str(reused),))}
        yield f"calls reused from {_names(sorted(runs))}: {len(reused)} of {len(calls)}"
    if trace.pruned_at:
        yield f"its checkpoints were pruned on {trace.pruned_at[:10]}, so it cannot be replayed"


SOURCES = """
    SELECT DISTINCT run_id FROM calls JOIN samples ON samples.id = sample_id
    WHERE calls.id IN (SELECT value FROM json_each(?))"""


def _number(calls: Sequence[Call], role: str, round: int | None = None) -> int | None:
    """The number, as in `muser show --calls`, of the role's last call with a usable reply."""
    found = [
        number
        for number, call in enumerate(calls, 1)
        if call.role == role and call.outcome in ("ok", "prose") and round in (None, call.round)
    ]
    return found[-1] if found else None


def _sentence(text: str) -> str:
    """The first sentence: a critic's plan opens with its main point."""
    return _shortened(re.split(r"(?<=[.!?])\s+(?=\S)", text.strip(), maxsplit=1)[0])


def _shortened(text: str) -> str:
    joined = " ".join(text.split())
    return joined if len(joined) <= LONGEST else joined[: LONGEST - 1].rstrip() + "…"


def _words(outcome: str) -> str:
    return outcome.replace("_", " ")


def _names(names: Sequence[str]) -> str:
    *rest, last = names
    return f"{', '.join(rest)} and {last}" if rest else last
