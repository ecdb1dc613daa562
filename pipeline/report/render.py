"""Renders a gathered report as Markdown and as one HTML file, for light and dark."""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from .blocks import Block, Code, Heading, Paragraph, Picture, Table
from .critics import describe_critics

WORSE, UNSURE = "▼", "·"
LENGTH_ADJUSTED = "length_adjusted"
NOTE = (
    "In percent: the mean over examples, clipped at 0 and 100 after averaging as in HealthBench, with a 95 % bootstrap "
    "interval over prompts; n counts answers. Differences are paired by example and not clipped. "
    f"{WORSE}: got worse; {UNSURE}: no difference shown at the 5 % level, for axes and themes "
    "after Holm's correction."
)
DISCLAIMER = "Nothing here is medical advice."


def blocks(data: Mapping[str, Any], pictures: Mapping[str, str]) -> Iterator[Block]:
    """The page, part by part. `pictures`: `scores` and `losses` → file name, for those that were drawn."""
    for text in filter(None, (data["note"], data["caption"])):
        yield Paragraph(text)
    yield Paragraph(DISCLAIMER)
    if data["scores"]:
        yield from _scores(data["scores"], pictures.get("scores", ""))
    yield from _training(data, pictures.get("losses", ""))
    yield from _funnel(data)
    yield from verdict_blocks(data["verdicts"])
    yield from describe_critics(data["critics"])
    yield from cost_blocks(data["cost"])
    yield from _provenance(data)


def score_table(scores: Mapping[str, Any]) -> Table:
    """One line per metric: each stage's score, then its differences from the stage before and from the first."""
    stages = list(scores)
    pairs = [(stage, other) for stage in stages for other in scores[stage]["differences"]]
    rows = [
        (
            metric_name(name),
            answers_of(scores, name),
            *(_score(find_score(scores[stage]["report"], name)) for stage in stages),
            *(_difference(scores[stage]["differences"][other].get(name)) for stage, other in pairs),
        )
        for name in metrics_of(scores)
    ]
    return Table(("", "n", *stages, *(f"{stage} − {other}" for stage, other in pairs)), tuple(rows))


def markdown(title: str, parts: Sequence[Block]) -> str:
    """The page as Markdown."""
    return "\n\n".join([f"# {title}", *(_as_markdown(part) for part in parts)]) + "\n"


def html(title: str, parts: Sequence[Block], images: Mapping[str, bytes]) -> str:
    """The page as one HTML file that loads nothing; `images` are the SVG files by name."""
    body = "\n".join([f"<h1>{escape(title)}</h1>", *(_as_html(part, images) for part in parts)])
    return HTML.format(title=escape(title), style=STYLE, body=body)


def _scores(scores: Mapping[str, Any], picture: str) -> Iterator[Block]:
    yield Heading("Scores")
    yield score_table(scores)
    yield Paragraph(NOTE)
    for reason in reasons_of(scores):
        yield Paragraph(f"{reason[0].upper()}{reason[1:]}.")
    if picture:
        yield Picture(picture, "Scores of every stage, overall and by axis and theme")
    lines = []
    for stage, found in scores.items():
        report = found["report"]
        lines.append(
            (
                stage,
                f"{report['examples']:,}",
                f"{found['failed']:,}",
                f"{report['left_out_unjudged']:,}",
                f"{report['items']:,}",
                f"{report['items_unjudged']:,}",
                f"{found['cut_off']:,}",
                f"{report['forged']:,}",
            )
        )
    names = (
        "stage",
        "examples graded",
        "failed",
        "left out (not judged)",
        "rubric items",
        "judge failures",
        "answers cut off",
        "answers with forged delimiters",
    )
    yield Table(names, tuple(lines))


def _training(data: Mapping[str, Any], picture: str) -> Iterator[Block]:
    yield Heading("Training")
    lines = [
        (
            stage,
            _count(found["rows"]),
            _count(found["rows_dropped"]),
            _count(found["held_out"]),
            _count(found["steps"]),
            f"{found['loss_first']:.3f} → {found['loss_last']:.3f}",
            _held_out_loss(found),
            _count(found["tokens"]),
            f"{found['seconds']:.0f} s",
            f"{_count(found['peak_memory_mb'])} MB",
        )
        for stage, found in data["training"].items()
    ]
    names = ("stage", "rows", "dropped", "held out", "steps", "loss", "held-out loss", "tokens", "time", "peak memory")
    yield Table(names, tuple(lines))
    if picture:
        yield Picture(picture, "Training loss of both stages, by step")


def _funnel(data: Mapping[str, Any]) -> Iterator[Block]:
    yield Heading("From samples to training")
    lines = [(one["step"], _count(one["samples"]), _reasons(one["lost"])) for one in data["funnel"]]
    yield Table(("", "samples", "dropped"), tuple(lines))


def verdict_blocks(verdicts: Mapping[str, Mapping[str, int]]) -> Iterator[Block]:
    """Each critic's verdicts; nothing without any."""
    if verdicts:
        yield Heading("Verdicts")
        lines = []
        for critic, said in verdicts.items():
            total = sum(said.values())
            lines.append(
                (critic, _count(total), *(f"{100 * said.get(word, 0) / total:.0f} %" for word in ("pass", "revise")))
            )
        yield Table(("critic", "critiques", "pass", "revise"), tuple(lines))


def cost_blocks(cost: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    """Tokens and time by step."""
    yield Heading("Tokens and time")
    lines = []
    for step in cost:
        roles = step["roles"]
        tokens_in = sum(role["tokens_in"] for role in roles)
        cached = sum(role["tokens_cached"] for role in roles)
        lines.append(
            (
                step["step"],
                _count(step["samples"]),
                _count(sum(role["calls"] for role in roles)),
                _count(sum(role["reused"] for role in roles)),
                _count(tokens_in),
                f"{100 * cached / tokens_in:.0f} %" if tokens_in else "–",
                _count(sum(role["tokens_out"] for role in roles)),
                f"{step['serving'].get('seconds') or step['seconds']:.0f} s",
            )
        )
    names = ("step", "samples", "calls", "reused", "tokens in", "cached", "tokens out", "time")
    yield Table(names, tuple(lines))
    yield Paragraph(
        "Time is from the first sample's start to the last one's end. For scoring it is the time of the last command, "
        "including the server's start."
    )


def _provenance(data: Mapping[str, Any]) -> Iterator[Block]:
    found = data["provenance"]
    yield Heading("Provenance")
    runs = [(run["id"], run["kind"], run["fingerprint"][:12], (run["git_commit"] or "–")[:12]) for run in found["runs"]]
    yield Table(("run", "kind", "identity", "recipe's commit"), tuple(runs))
    artifacts = [
        (
            f"{one['id']}",
            " ".join(part for part in (one["kind"], one["name"], one["stage"]) if part),
            one["digest"][:12],
            ", ".join(str(parent) for parent in one["made_of"]) or "–",
            one["path"],
        )
        for one in found["artifacts"]
    ]
    yield Table(("artifact", "what", "sha256", "made of", "path"), tuple(artifacts))
    if data["command"]:
        yield Heading("Command")
        yield Code(data["command"])
    yield Heading("Versions")
    yield Paragraph(", ".join(f"{name} {version}" for name, version in found["versions"].items()))
    yield Heading("Recipe")
    yield Code(data["recipe"])


def metrics_of(scores: Mapping[str, Any]) -> list[str]:
    names = ["overall"]
    if any(found["report"].get(LENGTH_ADJUSTED) for found in scores.values()):
        names.append(LENGTH_ADJUSTED)
    for kind, prefix in (("rubric_tags", "axis:"), ("example_tags", "theme:")):
        tags = (tag for found in scores.values() for tag in found["report"][kind] if tag.startswith(prefix))
        names += sorted(dict.fromkeys(tags))
    return names


def metric_name(name: str) -> str:
    """A metric's readable name: axes by name alone, themes with a prefix."""
    if name == LENGTH_ADJUSTED:
        return "overall, length-adjusted"
    kind, _, tag = name.partition(":")
    words = tag.replace("_", " ")
    return f"theme: {words}" if kind == "theme" else words or name


def find_score(report: Mapping[str, Any], name: str) -> Mapping[str, float] | None:
    if name in ("overall", LENGTH_ADJUSTED):
        found = report.get(name)
    else:
        found = report["rubric_tags"].get(name) or report["example_tags"].get(name)
    return found if isinstance(found, Mapping) else None


def answers_of(scores: Mapping[str, Any], name: str) -> str:
    """The number of answers behind a metric; the smallest and the largest if evaluations differ in it."""
    found = [find_score(one["report"], name) for one in scores.values()]
    numbers = sorted({int(one["n"]) for one in found if one})
    return "–".join(f"{number:,}" for number in dict.fromkeys([numbers[0], numbers[-1]])) if numbers else "0"


def reasons_of(scores: Mapping[str, Any]) -> list[str]:
    """Why a difference is not shown although its interval excludes 0, for each such difference."""
    return [
        f"{metric_name(name)}, {stage} − {other}: no difference shown, since {found['reason']}"
        for stage, one in scores.items()
        for other, differences in one["differences"].items()
        for name, found in differences.items()
        if found["reason"]
    ]


def _score(score: Mapping[str, float] | None) -> str:
    if score is None:
        return "–"
    return f"{100 * score['mean']:.1f} [{100 * score['low']:.1f}, {100 * score['high']:.1f}]"


def _difference(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "–"
    mark = {"lower": f" {WORSE}", "no difference shown": f" {UNSURE}"}.get(found["verdict"], "")
    return f"{100 * found['difference']:+.1f} [{100 * found['low']:+.1f}, {100 * found['high']:+.1f}]{mark}"


def _held_out_loss(found: Mapping[str, Any]) -> str:
    first, last = found["held_out_loss_first"], found["held_out_loss_last"]
    return "–" if first is None or last is None else f"{first:.3f} → {last:.3f}"


def _count(number: float | None) -> str:
    return "–" if number is None else f"{number:,}"


def _reasons(lost: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in lost.items()) or "–"


def _as_markdown(part: Block) -> str:
    match part:
        case Heading(text):
            return f"## {text}"
        case Table(columns, rows):
            lines = [columns, ("---", *("--:" for _ in columns[1:])), *rows]
            return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)
        case Picture(name, says):
            return f"![{says}]({name})"
        case Code(text):
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
            return f"{fence}\n{text.rstrip()}\n{fence}"
        case Paragraph(text):
            return text


def _cell(text: str) -> str:
    """Text escaped so that it stays in its cell and is not read as HTML."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _as_html(part: Block, images: Mapping[str, bytes]) -> str:
    match part:
        case Heading(text):
            return f"<h2>{escape(text)}</h2>"
        case Table(columns, rows):
            head = "".join(f"<th>{escape(cell)}</th>" for cell in columns)
            body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n" for row in rows)
            return f"<div class=wide><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>"
        case Picture(name, says):
            data = base64.b64encode(images[name]).decode()
            return f'<img alt="{escape(says)}" src="data:image/svg+xml;base64,{data}">'
        case Code(text):
            return f"<pre>{escape(text.rstrip())}</pre>"
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"


STYLE = """
:root { color-scheme: light dark; --ink: #1c1f23; --soft: #5d646d; --line: #d9dde2; --page: #ffffff; --code: #f4f5f7; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --soft: #9aa2ac; --line: #363b42; --page: #16181b; --code: #202328; }
}
body { margin: 2rem auto; padding: 0 1rem; max-width: 62rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h2 { margin-top: 2.2rem; font-size: 1.2rem; }
p { color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.7rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th { color: var(--soft); font-weight: 500; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
img { max-width: 100%; }
pre { background: var(--code); padding: 0.8rem; overflow-x: auto; font-size: 0.85rem; }
"""
HTML = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
<body>
{body}
</body>
</html>
"""
