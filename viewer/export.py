"""Samples as one HTML file that opens from disk: a list with search, and the viewer's page for every trace and run.

Its content security policy allows only its own style and script, by their hashes, so that no text in it can load or run
anything.
"""

import hashlib
from base64 import b64encode
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ..core.comparison import Comparison
from ..core.errors import InputError
from ..core.files import open_private
from ..core.types import Value
from ..store.file.database import Store, now
from ..store.queries.listing import OPENING, SampleLine
from ..store.records.samples import Trace, find_sample
from .pages import pair_page, run_page, trace_page
from .redaction import Field, redact_pair_page, redact_run_page, redact_trace_page
from .rendering import HERE, FileLinks, build_templates

MOST = 64 * 2**20
"""Most bytes of samples in one file; browsers take some seconds to open that much."""


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
    wanted = list(samples)
    written = _File(store, wanted, comparison, frozenset(redact))
    for sample in wanted:
        if written.size > MOST:
            break
        written.add_sample(sample)
    page = written.render(left_out=len(wanted) - len(written.lines)).encode()
    part = path.with_name(f".{path.name}.part")
    try:
        with open_private(part, "wb") as file:
            file.write(page)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    held = len(written.lines)
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


class _File:
    """The file's parts: the pages, each in a template element, and the lines of the list."""

    def __init__(
        self, store: Store, wanted: list[str], comparison: Comparison | None, redacted: frozenset[Field]
    ) -> None:
        self.store, self.redacted, self.comparison = store, redacted, comparison
        self.lines: list[SampleLine] = []
        self.parts: list[Markup] = []
        self.size = 0
        self.runs = list(dict.fromkeys(sample.partition("/")[0] for sample in wanted))
        pairs = comparison.look_first if comparison else ()
        self.compared = (comparison.first, comparison.second) if comparison else ()
        addresses = [f"{pair.first}={pair.second}" for pair in pairs] + ["=".join(self.compared)]
        self.templates = build_templates(store.path.name, FileLinks({*wanted, *self.runs, *addresses}))

    def add_sample(self, sample: str) -> None:
        page = redact_trace_page(trace_page(self.store, sample, {}), self.redacted)
        self.lines.append(_line(page.trace))
        self._add(sample, "trace.html", page)

    def render(self, *, left_out: int) -> str:
        """The whole file."""
        for run in self.runs:
            self._add(run, "run.html", redact_run_page(run_page(self.store, run), self.redacted))
        if self.comparison:
            self._add_comparison(self.comparison)
        style, script = _static("view.css"), _static("keys.js") + _static("file.js")
        policy = (
            f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; "
            "base-uri 'none'; form-action 'none'"
        )
        return self.templates.get_template("file.html").render(
            policy=policy,
            style=style,
            script=script,
            runs=self.runs,
            lines=self.lines,
            critics=list(dict.fromkeys(critic for line in self.lines for critic in line.verdicts)),
            parts=self.parts,
            compared=self.compared,
            redacted=sorted(self.redacted),
            left_out=left_out,
            written=now(),
        )

    def _add_comparison(self, comparison: Comparison) -> None:
        first, second = comparison.first, comparison.second
        page: dict[str, Any] = {"runs": (), "a": first, "b": second, "comparison": comparison}
        self._add(f"{first}={second}", "compare.html", page)
        for pair in comparison.look_first:
            found = pair_page(self.store, {"a": pair.first, "b": pair.second})
            self._add(f"{pair.first}={pair.second}", "pair.html", redact_pair_page(found, self.redacted))

    def _add(self, address: str, template: str, page: Any) -> None:
        part = self.templates.get_template(template).render(page=page, address=address)
        self.size += len(part.encode())
        self.parts.append(Markup(part))  # noqa: S704


def _line(trace: Trace) -> SampleLine:
    said = trace.model_dump(include={*SampleLine.model_fields} & {*Trace.model_fields})
    verdicts = {critique.critic: critique.verdict for critique in trace.critiques}
    query = (trace.query or "")[:OPENING] or None
    return SampleLine(**said | {"verdicts": verdicts, "query": query, "pruned": trace.pruned_at is not None})


def _static(name: str) -> Markup:
    return Markup((HERE / "static" / name).read_text(encoding="utf-8"))  # noqa: S704


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
