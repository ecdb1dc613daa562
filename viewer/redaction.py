"""What an exported file leaves out: a page's texts by field, also where other texts quote them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeVar, get_args

from ..core.types import Value
from ..store.records.ledger import Call
from ..store.records.samples import Trace
from .pages import Bar, PairPage, RunPage, TracePage

Field = Literal["persona", "query", "reasoning", "answer", "critiques", "refinement", "grades", "cause", "calls"]
FIELDS: tuple[Field, ...] = get_args(Field)

# A call's messages and reply quote these, so they go with any of them. Only the judge's quote the criteria.
QUOTED_IN_CALLS = frozenset(FIELDS) - {"grades", "cause"}
REDACTED = "[redacted]"

V = TypeVar("V", bound=Value)


def redact_trace_page(page: TracePage, fields: frozenset[Field]) -> TracePage:
    """The page without these texts. Why a sample ended as it did quotes any of them, so it goes with the first."""
    if not fields:
        return page
    trace = redact_trace(page.trace, fields)
    rounds = [(number, [c for c in trace.critiques if c.round == number]) for number, _ in page.rounds]
    return replace(page, trace=trace, rounds=rounds, reason=None, bars=_redact_calls(page.bars, fields))


def redact_pair_page(page: PairPage, fields: frozenset[Field]) -> PairPage:
    """Two samples without these texts."""
    return replace(page, before=redact_trace(page.before, fields), after=redact_trace(page.after, fields))


def redact_run_page(page: RunPage, fields: frozenset[Field]) -> RunPage:
    """The page without the personas' values and the causes of failures."""
    if "persona" in fields:
        page = replace(page, coverage={})
    if "cause" in fields:
        page = replace(page, failures=[replace(failure, message=REDACTED) for failure in page.failures])
    return page


def redact_trace(trace: Trace, fields: frozenset[Field]) -> Trace:
    """The sample without these texts."""
    hidden: dict[str, object] = {}
    if "persona" in fields:
        hidden["persona"] = None
    if "query" in fields:
        hidden |= {"history": _hide(trace.history, "content"), "extra": {}, "query": trace.query and REDACTED}
    if "cause" in fields:
        hidden["cause"] = trace.cause and REDACTED
    if "critiques" in fields:
        hidden["critiques"] = _hide(trace.critiques, "rationale")
    if "grades" in fields:
        hidden |= {"grades": _hide(trace.grades, "explanation"), "rubric": _hide(trace.rubric, "criterion")}
    if trace.response:
        names = [name for name in ("reasoning", "answer") if name in fields]
        hidden["response"] = _hide([trace.response], *names)[0]
    if trace.refinement:
        # Its reasoning quotes the response's and the critics' rationales.
        names = ["reasoning"] if fields & {"refinement", "reasoning", "critiques"} else []
        names += ["answer"] if "refinement" in fields else []
        hidden["refinement"] = _hide([trace.refinement], *names)[0]
    return trace.model_copy(update=hidden)


def _hide(values: Sequence[V], *names: str) -> tuple[V, ...]:
    return tuple(value.model_copy(update=dict.fromkeys(names, REDACTED)) for value in values)


def _redact_calls(bars: Sequence[Bar], fields: frozenset[Field]) -> list[Bar]:
    def is_hidden(call: Call) -> bool:
        return bool(fields & QUOTED_IN_CALLS) or ("grades" in fields and call.role == "judge")

    return [replace(bar, call=_redact_call(bar.call), curl=REDACTED) if is_hidden(bar.call) else bar for bar in bars]


def _redact_call(call: Call) -> Call:
    reply = call.reply.model_copy(update={"text": REDACTED, "reasoning": ""})
    return call.model_copy(update={"messages": (), "parameters": {}, "reply": reply})
