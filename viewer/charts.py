"""Charts for reports and trainings: loss curves and score bars that read on light and dark pages."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

from ..core.errors import SettingsError
from ..core.installation import install_hint

try:
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
except ImportError as error:
    raise SettingsError("charts need matplotlib", todo=install_hint("data")) from error

# Legible on white and near-black, and different in lightness, so that they are distinct without colour vision.
COLORS = {"base": "#8a8f98", "distill": "#2f7fc1", "refine": "#d9822b"}
OTHERS = ("#7a5195", "#2a9d8f", "#c1453d")
INK, FAINT = "#7d828a", "#7d828a55"
WIDTH = 7.2  # inches
SMOOTHING = 0.8
PAINT = (0.18, 0.5, 0.76)
ACROSS, MOST_VALUES = 2, 12  # charts beside one another, and values in each

History = Sequence[Mapping[str, Any]]
"""Training steps in order, each with `step` and `loss`."""


Bar = tuple[float, float, float]
"""A mean and its interval's ends, all in [0, 1]."""

Place = tuple[int, int]
"""The numbers of a row and a column."""
Counts = Sequence[Sequence[float]]
"""A table: its rows, each with a number for every column."""
ValueBar = tuple[str, float, int]
"""A value of an attribute, its wanted number of samples, and the accepted ones."""


def draw_loss(history: History, path: Path) -> None:
    """One training's loss curve as a PNG, on white."""
    with _figure(3.2) as (figure, axes):
        _curve(axes, history, COLORS["distill"], "loss")
        _label(axes, "step", "loss")
        figure.savefig(path, format="png", dpi=150, facecolor="white")


def loss_curves(histories: Mapping[str, History]) -> bytes:
    """The loss of every stage by step, as SVG: the smoothed curve, the single steps behind it."""
    with _figure(3.0) as (figure, axes):
        for number, (name, history) in enumerate(histories.items()):
            _curve(axes, history, _color(name, number), name)
        _label(axes, "step", "loss")
        _legend(axes, len(histories))
        return _svg(figure)


def score_bars(scores: Mapping[str, Mapping[str, Bar]]) -> bytes:
    """Series (stages) of labelled bars (overall, axes, themes) with their intervals, as SVG."""
    labels = list(dict.fromkeys(label for bars in scores.values() for label in bars))
    thick = 0.8 / max(len(scores), 1)
    with _figure(0.7 + 0.22 * len(labels) * max(len(scores), 1)) as (figure, axes):
        for number, (name, bars) in enumerate(scores.items()):
            shown = [(labels.index(label), bar) for label, bar in bars.items()]
            places = [place + (number - (len(scores) - 1) / 2) * thick for place, _ in shown]
            means = [mean for _, (mean, _, _) in shown]
            spread = [[mean - low for _, (mean, low, _) in shown], [high - mean for _, (mean, _, high) in shown]]
            axes.barh(places, means, height=thick * 0.9, color=_color(name, number), label=name)
            axes.errorbar(means, places, xerr=spread, fmt="none", ecolor=INK, elinewidth=1, capsize=2)
        axes.set_yticks(range(len(labels)), labels)
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        _label(axes, "score", "", grid="x")
        _legend(axes, len(scores))
        return _svg(figure)


def value_bars(attributes: Mapping[str, Sequence[ValueBar]]) -> bytes:
    """The samples of each attribute's most frequent values as bars, with a mark at the wanted number, as SVG."""
    down = -(-len(attributes) // ACROSS)
    with _figures(down, ACROSS, height=0.5 + 0.19 * MOST_VALUES) as (figure, grid):
        for axes, (name, values) in zip(grid, attributes.items(), strict=False):
            shown = sorted(values, key=lambda bar: -bar[2])[:MOST_VALUES]
            axes.barh(range(len(shown)), [achieved for _, _, achieved in shown], color=f"{COLORS['distill']}aa")
            axes.plot([wanted for _, wanted, _ in shown], range(len(shown)), "|", color=INK, markersize=8)
            axes.set_yticks(range(len(shown)), [value for value, _, _ in shown])
            axes.invert_yaxis()
            hidden = len(values) - len(shown)
            axes.set_title(name + (f", and {hidden:,} rarer values" if hidden else ""), fontsize=9, loc="left")
        for axes in grid[len(attributes) :]:
            axes.remove()
        return _svg(figure)


def pair_map(rows: Sequence[str], columns: Sequence[str], counts: Counts, short: set[Place]) -> bytes:
    """Samples by pair of values, as SVG: the more, the darker. A frame marks those that are short."""
    with _pairs(rows, columns, counts) as (figure, axes):
        for row, column in sorted(short):
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=OTHERS[2], linewidth=1))
        return _svg(figure)


def draw_pairs(rows: Sequence[str], columns: Sequence[str], shares: Counts, names: tuple[str, str], path: Path) -> None:
    """The joint distribution of two attributes as a PNG or an SVG, by the file's ending, on white."""
    with _pairs(rows, columns, shares) as (figure, axes):
        axes.set_ylabel(names[0])
        axes.set_xlabel(names[1])
        figure.savefig(path, dpi=150, facecolor="white")


@contextmanager
def _pairs(rows: Sequence[str], columns: Sequence[str], counts: Counts) -> Iterator[tuple[Figure, Axes]]:
    most = max((count for line in counts for count in line), default=0) or 1
    with _figure(1.6 + 0.17 * len(rows)) as (figure, axes):
        axes.imshow([[(*PAINT, (count / most) ** 0.5) for count in line] for line in counts], aspect="auto")
        axes.set_xticks(range(len(columns)), columns, rotation=90)
        axes.set_yticks(range(len(rows)), rows)
        yield figure, axes


@contextmanager
def _figure(height: float) -> Iterator[tuple[Figure, Axes]]:
    with _figures(1, 1, height) as (figure, grid):
        yield figure, grid[0]


@contextmanager
def _figures(down: int, across: int, height: float) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure with a grid of charts, each of this height in inches."""
    settings = {
        "svg.hashsalt": "muser",  # the same data give the same bytes
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 9,
        "text.color": INK,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with mpl.rc_context(settings):
        figure = Figure(figsize=(WIDTH, height * down), layout="constrained")
        yield figure, list(figure.subplots(down, across, squeeze=False).flat)


def _curve(axes: Axes, history: History, color: str, name: str) -> None:
    steps, losses = [entry["step"] for entry in history], [entry["loss"] for entry in history]
    smooth = list(accumulate(losses, lambda before, loss: SMOOTHING * before + (1 - SMOOTHING) * loss))
    axes.plot(steps, losses, color=color, linewidth=0.8, alpha=0.35)
    axes.plot(steps, smooth, color=color, linewidth=1.8, label=name)
    axes.set_ylim(bottom=0)


def _label(axes: Axes, x: str, y: str, grid: Literal["x", "y"] = "y") -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(axis=grid, color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)


def _legend(axes: Axes, series: int) -> None:
    if series > 1:
        axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=series, borderaxespad=0)


def _color(name: str, number: int) -> str:
    return COLORS.get(name) or OTHERS[number % len(OTHERS)]


def _svg(figure: Figure) -> bytes:
    written = io.BytesIO()
    figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return written.getvalue()
