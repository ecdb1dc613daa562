"""Samples as one HTML file that opens from disk: a list with search, and a page for every trace.

The file contains each text once and renders it as text. Its content security policy allows only its own style and
script, by their hashes, so that no text in it can load or run anything.
"""

import hashlib
import json
from base64 import b64encode
from collections.abc import Collection, Iterable, Iterator
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

from ..core.comparison import Comparison
from ..core.errors import InputError
from ..core.files import open_private
from ..core.types import Grade, Value
from ..store.file.database import Store, now
from ..store.file.texts import WORTH_SHARING, cut
from ..store.queries.tallies import verdicts_of
from ..store.records.ledger import Call, calls_of, usage_by_role
from ..store.records.runs import find_run, list_runs
from ..store.records.samples import Trace, counts, failures, find_sample, get_trace
from .text import visible, without_folders

Field = Literal["persona", "query", "reasoning", "answer", "critiques", "refinement", "grades", "cause", "calls"]
FIELDS: tuple[Field, ...] = get_args(Field)
MOST = 64 * 2**20
"""Most bytes of samples in one file; browsers take some seconds to open that much."""

# A call's messages and reply quote what the other fields hold, so they go with any of them.
QUOTED_IN_CALLS = frozenset(FIELDS) - {"grades", "cause"}


class Exported(Value):
    """What was written; `left_out` counts samples that did not fit."""

    path: str
    samples: int
    left_out: int
    bytes: int


def export_page(
    store: Store,
    samples: Iterable[str],
    path: Path,
    *,
    comparison: Comparison | None = None,
    redact: Collection[Field] = (),
    replace: bool = False,
) -> Exported:
    """Write these samples (RUN/KEY) as one file. It has no text of a redacted field, not even quoted in calls.

    A `comparison` of two runs gets a page too. Where an answer repeats part of a redacted query, that part stays.
    Raises InputError if the file exists and `replace` is false.
    """
    if path.exists() and not replace:
        raise InputError(f"{path} exists", todo="choose another file, or overwrite it with --force")
    bundle = _Bundle(store, frozenset(redact))
    wanted = list(samples)
    for sample in wanted:
        if bundle.size > MOST:
            break
        bundle.add(sample)
    data = bundle.to_dict(left_out=len(wanted) - len(bundle.samples))
    if comparison:
        changes = [without_folders(line) for line in comparison.changes]
        data["comparison"] = comparison.model_dump(mode="json") | {"changes": changes}
    page = render(data)
    part = path.with_name(f".{path.name}.part")
    try:
        with open_private(part, "wb") as file:
            file.write(page)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    held = len(bundle.samples)
    return Exported(path=str(path), samples=held, left_out=len(wanted) - held, bytes=len(page))


def chosen_samples(store: Store, names: Collection[str]) -> list[str]:
    """RUN/KEY of the named samples and of all samples of the named runs; without names, those of the newest run."""
    runs = [row["id"] for row in store.read("SELECT id FROM runs ORDER BY rowid DESC")]
    if not names and not runs:
        raise InputError("there is no run to export", where=str(store.path))
    found: dict[str, None] = {}
    for name in names or runs[:1]:
        if name in runs:
            rows = store.read(
                "SELECT run_id || '/' || key AS id FROM samples WHERE run_id = ? ORDER BY samples.id", (name,)
            )
            found |= dict.fromkeys(row["id"] for row in rows)
        else:
            found[find_sample(store, name)] = None
    return list(found)


def render(data: dict[str, Any]) -> bytes:
    """The page around its data."""
    here = files(__package__)
    style, script = (here.joinpath("static", f"export.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    # In a script element only "<" can end the block or open a comment (HTML standard, 4.12.1.3).
    block = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    parts = {
        "policy": f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        "title": escape(f"muser: {', '.join(run['id'] for run in data['runs'])}"),
        "style": style,
        "script": script,
        "data": block,
    }
    template = here.joinpath("static", "export.html").read_text(encoding="utf-8")
    pieces = template.split("@@")
    return "".join(parts[piece] if odd % 2 else piece for odd, piece in enumerate(pieces)).encode()


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


class _Bundle:
    """Samples as JSON in which every text is a number, its index in `texts`."""

    def __init__(self, store: Store, redacted: frozenset[Field]) -> None:
        self.store, self.redacted = store, redacted
        self.samples: list[dict[str, Any]] = []
        self.size = 0
        self._runs: dict[str, dict[str, Any]] = {}
        self._texts: dict[str, int] = {}

    def to_dict(self, *, left_out: int) -> dict[str, Any]:
        return {
            "written": now(),
            "redacted": sorted(self.redacted),
            "left_out": left_out,
            "runs": list(self._runs.values()),
            "samples": self.samples,
            "texts": list(self._texts),
        }

    def add(self, sample: str) -> None:
        trace = get_trace(self.store, sample)
        if trace.run_id not in self._runs:
            self._runs[trace.run_id] = self._run(trace.run_id)
        row = self._trace(trace) | {"calls": list(self._calls(trace))}
        self.samples.append(row)
        self.size += len(json.dumps(row))

    def _run(self, run_id: str) -> dict[str, Any]:
        run = find_run(self.store, run_id)
        if run is None:
            raise InputError(f"there is no run {run_id}", where=str(self.store.path))
        return {
            "id": run.id,
            "kind": run.kind,
            "simulated": run.simulated,
            "status": next(line.status for line in list_runs(self.store) if line.id == run_id),
            "created": run.created_at,
            "counts": {status: n for status, n in counts(self.store, run_id).items() if n},
            "verdicts": verdicts_of(self.store, run_id),
            "failures": [[f.cause_kind, f.node, f.samples] for f in failures(self.store, run_id)],
            "usage": [
                [u.role, u.calls, u.reused, u.tokens_in, u.tokens_cached, u.tokens_out, round(u.seconds, 2)]
                for u in usage_by_role(self.store, run_id)
            ],
        }

    def _trace(self, trace: Trace) -> dict[str, Any]:
        """Facts and texts; a redacted text is None, a missing one is left out."""
        facts: dict[str, Any] = {"id": trace.id, "run": trace.run_id, "key": trace.key, "status": trace.status}
        for name in ("simulated", "rounds", "tries", "seconds", "score", "failed_node", "cause_kind", "origin"):
            if value := getattr(trace, name):
                facts[name] = value
        hide = self.redacted
        if trace.persona:
            persona = {name: visible(value) for name, value in trace.persona.items()}
            facts["persona"] = None if "persona" in hide else persona
        if trace.history:
            facts["history"] = [[turn.role, self._text("query", turn.content).get("query")] for turn in trace.history]
        facts |= self._text("query", trace.query) | self._text("cause", trace.cause)
        if trace.response:
            facts |= self._text("reasoning", trace.response.reasoning) | self._text("answer", trace.response.answer)
        if trace.refinement:
            refinement = trace.refinement
            facts |= self._text("refined", refinement.answer, "refinement")
            # It quotes the response's reasoning and the critics' rationales.
            facts |= self._text("refined_reasoning", refinement.reasoning, "refinement", "reasoning", "critiques")
        facts["critiques"] = [
            {"critic": c.critic, "verdict": c.verdict, "round": c.round}
            | self._text("rationale", c.rationale, "critiques")
            for c in trace.critiques
        ]
        facts["grades"] = [self._grade(trace, grade) for grade in trace.grades]
        return facts

    def _grade(self, trace: Trace, grade: Grade) -> dict[str, Any]:
        said: dict[str, Any] = {"item": grade.item, "points": grade.points, "met": grade.met}
        item = trace.item_of(grade)
        if item:
            said |= {"axis": visible(item.axis)} | self._text("criterion", item.criterion, "grades")
        return said | self._text("explanation", grade.explanation, "grades")

    def _calls(self, trace: Trace) -> Iterator[dict[str, Any]]:
        hidden = bool(self.redacted & QUOTED_IN_CALLS)
        said = _texts_of(trace)
        for call in calls_of(self.store, trace.id):
            texts = {} if hidden else self._said(call, said)
            usage, reply = call.reply.usage, call.reply
            yield texts | {
                "role": call.role,
                "round": call.round,
                "attempt": call.attempt,
                "model": call.model,
                "served": visible(reply.model),
                "outcome": call.outcome,
                "finish": visible(reply.finish_reason),
                "tokens": [usage.tokens_in, usage.tokens_cached, usage.tokens_out],
                "seconds": round(reply.seconds, 3),
                "reused": call.reused_from is not None,
                "superseded": call.superseded,
                "at": call.created_at,
            }

    def _said(self, call: Call, said: list[str]) -> dict[str, Any]:
        messages = [[message.role, *self._rope(message.content, said)] for message in call.messages]
        parameters = json.dumps(call.parameters, ensure_ascii=False, indent=1)
        texts = {"messages": messages, "reply": self._rope(call.reply.text, said), "parameters": self._put(parameters)}
        return texts | ({"reasoning": self._put(call.reply.reasoning)} if call.reply.reasoning else {})

    def _text(self, name: str, text: str | None, *fields: Field) -> dict[str, int | None]:
        if not text:
            return {}
        return {name: None if self.redacted & set(fields or (name,)) else self._put(text)}

    def _rope(self, text: str, said: list[str]) -> list[int]:
        return [self._put(piece) for piece in cut(text, said)]

    def _put(self, text: str) -> int:
        shown = visible(text)
        if shown not in self._texts:
            self._texts[shown] = len(self._texts)
            self.size += len(shown.encode())
        return self._texts[shown]


def _texts_of(trace: Trace) -> list[str]:
    """Texts that this sample's messages are likely to quote, longest first."""
    response, refinement = trace.response, trace.refinement
    said = [trace.query, *(turn.content for turn in trace.history), *(c.rationale for c in trace.critiques)]
    said += [response.reasoning, response.answer] if response else []
    said += [refinement.reasoning, refinement.answer] if refinement else []
    return sorted({text for text in said if text and len(text) >= WORTH_SHARING}, key=len, reverse=True)
