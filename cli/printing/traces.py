"""A sample's whole trace, readable in 80 columns."""

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from ...core.word_diff import word_diff
from .layout import columns, paragraph
from .progress import duration
from .text import one_line, plain

if TYPE_CHECKING:
    from ...core.types import Critique
    from ...store.queries.reasons import Reason
    from ...store.records.ledger import Call
    from ...store.records.samples import Trace

VERDICTS = {"pass": ("✓", "green"), "revise": ("✎", "yellow")}
STATUSES = {"done": "green", "failed": "red", "running": "yellow", "pending": "yellow", "rejected": "magenta"}
MET = {True: ("met", "green"), False: ("not met", ""), None: ("the judge failed", "red")}
CHANGES = {"same": ("{}", ""), "out": ("[-{}-]", "red strike"), "in": ("{{+{}+}}", "green underline")}
INDENT = 2


def print_trace(
    console: Console, trace: "Trace", calls: Sequence["Call"], *, reasoning: bool = False, messages: bool = False
) -> None:
    """Print a trace, finished or not. `reasoning` prints it in full, `messages` prints every call in full."""
    page = _Page(console, reasoning)
    page.header(trace)
    page.what_was_said(trace)
    page.what_was_made_of_it(trace)
    if calls:
        page.calls(calls)
    if messages:
        for number, call in enumerate(calls, 1):
            page.call(number, call)


def print_reason(console: Console, reason: "Reason") -> None:
    """Print why a sample ended as it did: the answer, the evidence, then further facts."""
    page = _Page(console, unfold=False)
    page.text(Text.assemble((plain(reason.sample), "bold"), " · ", (reason.status, STATUSES[reason.status])))
    page.said(reason.answer)
    for shown in reason.evidence:
        number = f" (call {shown.call})" if shown.call else ""
        page.text(Text(plain(f"{shown.what}{number}"), style="cyan"), by=INDENT)
        if shown.broken:
            before, after = plain(shown.broken.before), plain(shown.broken.after)
            page.text(Text.assemble(before, ("[break]", "bold red"), after), by=2 * INDENT)
        elif shown.quote:
            page.text(Text(f"“{plain(shown.quote)}”"), by=2 * INDENT)
    for fact in reason.facts:
        page.text(Text(plain(fact), style="dim"), by=INDENT)


class _Page:
    """The parts of a trace, printed one after the other."""

    def __init__(self, console: Console, unfold: bool) -> None:
        self.console, self.unfold = console, unfold

    def header(self, trace: "Trace") -> None:
        facts = [duration(trace.seconds)] if trace.seconds is not None else []
        facts += [f"{trace.rounds} rounds"] if trace.rounds > 1 else []
        facts += [f"retried {trace.tries} {'time' if trace.tries == 1 else 'times'}"] if trace.tries else []
        facts.append(f"seed {trace.seed}")
        facts += ["simulated"] if trace.simulated else []
        status = (trace.status, STATUSES[trace.status])
        self.text(Text.assemble((plain(trace.id), "bold"), " · ", status, "".join(f" · {fact}" for fact in facts)))
        if trace.origin:
            self.text(Text(f"made from {plain(trace.origin)}"))
        if trace.pruned_at:
            self.text(
                Text(f"its checkpoints were pruned on {trace.pruned_at[:10]}; it cannot be replayed", style="dim")
            )
        if trace.cause:
            where = f" at {trace.failed_node}" if trace.failed_node else ""
            self.text(Text(f"{trace.cause_kind}{where}", style="red"))
            self.said(trace.cause, by=INDENT)

    def what_was_said(self, trace: "Trace") -> None:
        if trace.persona:
            self.title("persona")
            widest = min(max(map(cell_len, trace.persona)) + 2, self.console.width // 2)
            for name, value in trace.persona.items():
                self.text(Text(plain(value)), by=widest, label=Text(name, style="dim"))
        for one in trace.rejections:
            self.title(f"draw {one.draw}, rejected by {plain(one.screen)}")
            self.text(Text(plain(one.reason), style="dim"))
            self.said(one.text)
        for turn in trace.history:
            self.title(f"earlier turn: {turn.role}")
            self.said(turn.content)
        if trace.query is not None:
            self.title("query")
            self.said(trace.query)
        if trace.response:
            self.title("response")
            self.thought(trace.response.reasoning)
            self.said(trace.response.answer)

    def what_was_made_of_it(self, trace: "Trace") -> None:
        if trace.critiques:
            self.title("critiques")
            self.critiques(trace.critiques)
        if trace.refinement:
            self.title("refinement, against the response" if trace.response else "refinement")
            self.thought(trace.refinement.reasoning)
            self.difference(trace.response.answer if trace.response else "", trace.refinement.answer)
        elif trace.status == "done" and trace.critiques:
            self.title("refinement")
            passed = all(critique.verdict == "pass" for critique in trace.critiques)
            why = "no critic asked for a revision" if passed else "the recipe only criticises"
            self.text(Text(f"none: {why}", style="dim"))
        if trace.grades:
            self.title(f"grades, score {trace.score}")
            self.grades(trace)

    def critiques(self, critiques: Sequence["Critique"]) -> None:
        several = max(critique.round for critique in critiques) > 1
        for critique in critiques:
            mark, style = VERDICTS[critique.verdict]
            number = f", round {critique.round}" if several else ""
            self.text(Text.assemble((f"{mark} {plain(critique.critic)}: {critique.verdict}", style), number))
            self.said(critique.rationale, by=INDENT)

    def difference(self, before: str, after: str) -> None:
        self.text(diffed(self.console, before, after))

    def grades(self, trace: "Trace") -> None:
        for grade in trace.grades:
            item = trace.item_of(grade)
            axis = f" · {plain(item.axis)}" if item and item.axis else ""
            self.text(Text.assemble(f"{grade.item}: {grade.points:+g} points, ", MET[grade.met], axis))
            if item:
                self.said(item.criterion, by=INDENT)
            self.text(Text(f"judge: {plain(grade.explanation).strip() or '–'}", style="dim"), by=2 * INDENT)

    def calls(self, calls: Sequence["Call"]) -> None:
        self.title("calls")
        rows = [[Text(str(number)), *_call_cells(call)] for number, call in enumerate(calls, 1)]
        names = ("attempt", "in", "cached", "out", "s")
        for line in columns(self.console, ("#", "role", "model", "outcome"), names, rows):
            self.console.print(line)

    def call(self, number: int, call: "Call") -> None:
        self.title(f"call {number}: {call.role}, attempt {call.attempt}")
        self.text(Text(plain(json.dumps(call.parameters, ensure_ascii=False)), style="dim"))
        for message in call.messages:
            self.text(Text(f"[{message.role}]", style="cyan"))
            self.said(message.content)
        ended = plain(call.reply.finish_reason) or "no finish reason"
        self.text(Text(f"[reply: {call.outcome}, {ended}]", style="cyan"))
        if call.reply.reasoning:
            self.text(Text(f"reasoning: {plain(call.reply.reasoning)}", style="dim"))
        self.said(call.reply.text)

    def title(self, title: str) -> None:
        self.console.print()
        self.console.print(Rule(Text(title, style="bold"), align="left", style="dim"))

    def said(self, text: str, by: int = 0) -> None:
        shown = plain(text).strip("\n")
        nothing = f"({len(text)} characters of whitespace)" if text else "(empty)"
        self.text(Text(shown) if shown.strip() else Text(nothing, style="dim"), by=by)

    def thought(self, reasoning: str) -> None:
        if not reasoning.strip():
            return
        words = f"{len(reasoning.split())} words: {one_line(reasoning, 40)} (--reasoning)"
        shown = f": {plain(reasoning).strip()}" if self.unfold else f", {words}"
        self.text(Text(f"reasoning{shown}\n", style="dim"))

    def text(self, text: Text, *, by: int = 0, label: Text | None = None) -> None:
        for line in paragraph(self.console, text, by=by, label=label):
            self.console.print(line)


def diffed(console: Console, before: str, after: str) -> Text:
    """A word diff: in colour, or as [-out-] {+in+} without."""
    marks = console.no_color or console.color_system is None
    text = Text()
    for change, words in word_diff(plain(before), plain(after)):
        shape, style = CHANGES[change]
        text.append(*((shape.format(words),) if marks else (words, style)))
    return text


def _call_cells(call: "Call") -> Iterator[Text]:
    usage = call.reply.usage
    note = ", reused" if call.reused_from is not None else ", superseded" if call.superseded else ""
    yield Text(call.role)
    yield Text(call.model)
    yield Text(f"{call.outcome}{note}", style="" if call.outcome == "ok" else "red")
    for number in (call.attempt, usage.tokens_in, usage.tokens_cached, usage.tokens_out):
        yield Text(f"{number:,}")
    yield Text(f"{call.reply.seconds:.2f}")
