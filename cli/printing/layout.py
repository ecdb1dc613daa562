"""Text in columns and with hanging indents, without frames and without spaces at the ends of lines."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

GAP = 2  # columns
NARROWEST = 6  # columns that a shortened cell keeps


def paragraph(console: Console, text: Text, *, by: int = 0, label: Text | None = None) -> Iterator[Text]:
    """The text wrapped to the console's width and indented, with the label in the first line's indent."""
    opening = label.copy() if label else Text()
    opening.truncate(by, overflow="ellipsis", pad=True)
    for line in text.wrap(console, max(console.width - by, 1), tab_size=4) or [Text()]:
        line.rstrip()
        joined = opening + line
        joined.rstrip()
        yield joined
        opening = Text(" " * by)


def columns(
    console: Console, left: Sequence[str], right: Sequence[str], rows: Sequence[Sequence[Text]]
) -> Iterator[Text]:
    """A table under its names: columns of text, shortened where all would be too wide, then columns of numbers."""
    lines = [[Text(name, style="dim") for name in (*left, *right)], *rows]
    widths = [max(cell.cell_len for cell in column) for column in zip(*lines, strict=True)]
    for _ in range(sum(widths) + GAP * (len(widths) - 1) - console.width):
        widest = max(range(len(left)), key=lambda n: widths[n])
        widths[widest] = max(widths[widest] - 1, NARROWEST)
    for line in lines:
        cells = []
        for number, (cell, width) in enumerate(zip(line, widths, strict=True)):
            fitted = cell.copy()
            fitted.truncate(width, overflow="ellipsis", pad=number < len(left))
            fitted.pad_left(width - fitted.cell_len)
            cells.append(fitted)
        joined = Text(" " * GAP).join(cells)
        joined.rstrip()
        yield joined
