"""Tables of how far judges agree."""

from typing import TYPE_CHECKING

from .layout import columns

if TYPE_CHECKING:
    from rich.console import Console

    from ...evals.agreement import Agreement
    from ...evals.correction import Corrected, Share
    from ...evals.judges import JudgeComparison


def print_judges(console: "Console", found: "JudgeComparison") -> None:
    """Agreement of every two judges by axis and theme, of all, with people, and the items to look at first."""
    from rich.text import Text

    from ...pipeline.report.render import metric_name

    for pair in found.pairs:
        console.print(f"{pair.first} and {pair.second}")
        parts = {"overall": pair.overall} | pair.by_tag
        rows = [[Text(cell) for cell in (metric_name(tag), *_agreement(one))] for tag, one in parts.items()]
        for line in columns(console, ("",), ("n", "equal", "Cohen's kappa"), rows):
            console.print(line)
        console.print()
    if found.fleiss:
        _, _, kappa = _agreement(found.fleiss)
        console.print(f"all judges on {found.fleiss.n:,} items: Fleiss' kappa {kappa}")
    _, _, alpha = _agreement(found.krippendorff)
    console.print(f"all judges on {found.krippendorff.n:,} items: Krippendorff's alpha {alpha}")
    console.print(
        f"{found.items:,} items: met for every judge {found.always_met:,}, for none {found.never_met:,}, "
        f"differed on {found.differed:,}; {found.other_answers:,} examples left out, whose answers differ"
    )
    for name, f1 in found.balanced_f1.items():
        console.print(f"{name}: balanced F1 {f1['overall']:.3f} over {len(f1) - 1} categories")
    for name, one in found.corrected.items():
        console.print(_corrected(name, one))
    for item in found.look_first:
        verdicts = ", ".join(f"{name} {'met' if met else 'not met'}" for name, met in item.met.items())
        console.print()
        console.print(Text(f"{item.sample} item {item.item} [{item.points:g}] {item.axis}: {verdicts}"))
        console.print(Text(f"  {item.criterion}"))


def _agreement(one: "Agreement") -> "tuple[str, str, str]":
    beyond = "undefined" if one.beyond_chance is None else f"{one.beyond_chance:.2f}"
    if one.low is not None and one.high is not None:
        beyond += f" [{one.low:.2f}, {one.high:.2f}]"
    return f"{one.n:,}", f"{100 * one.observed:.1f} %", beyond


def _corrected(name: str, one: "Corrected") -> str:
    value = "undefined" if one.corrected is None else f"{100 * one.corrected:.1f}"
    if one.low is not None and one.high is not None:
        value += f" [{100 * one.low:.1f}, {100 * one.high:.1f}]"
    return (
        f"{name}: sensitivity {_share(one.sensitivity)}, specificity {_share(one.specificity)}; "
        f"score {100 * one.raw:.1f}, corrected {value}"
    )


def _share(one: "Share | None") -> str:
    if one is None:
        return "unknown"
    return f"{100 * one.share:.1f} % of {one.n:,} [{100 * one.low:.1f}, {100 * one.high:.1f}]"
