"""Draws a state machine as text from its nodes and edges."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from textwrap import wrap

Edge = tuple[str, str]

GAP = 2  # columns between two boxes


def draw(nodes: Sequence[str], edges: Sequence[Edge], labels: Mapping[str, str], width: int = 80) -> str:
    """Boxes in layers from top to bottom; edges that skip a layer or lead back are listed below.

    `nodes` begins with the start. `labels` holds a node's text; a second line is allowed.
    """
    back = _back_edges(nodes, edges)
    layers = _layers(nodes, [edge for edge in edges if edge not in back])
    drawn: set[Edge] = set()
    blocks: list[list[str]] = []
    for layer, following in zip(layers, [*layers[1:], []], strict=True):
        pairs = [(a, b) for a in layer for b in following]
        if pairs and all(pair in edges for pair in pairs):
            drawn.update(pairs)
        blocks.append(_boxes([labels.get(name, name).split("\n") for name in layer], width))
    middle = max(len(line) for block in blocks for line in block) // 2
    lines: list[str] = []
    for number, block in enumerate(blocks):
        below = number + 1 < len(blocks) and (layers[number][0], layers[number + 1][0]) in drawn
        above = number > 0 and (layers[number - 1][0], layers[number][0]) in drawn
        lines += _joined(block, middle, above=above, below=below)
    others = sorted(set(edges) - drawn, key=lambda edge: (nodes.index(edge[0]), nodes.index(edge[1])))
    also = _listed(others, labels, width)
    return "\n".join([line.rstrip() for line in lines] + (["", "also:", *also] if also else []))


def _back_edges(nodes: Sequence[str], edges: Sequence[Edge]) -> set[Edge]:
    """Edges to a node nearer to the start, which close a loop."""
    near, reached = {nodes[0]: 0}, [nodes[0]]
    for node in reached:
        for a, b in edges:
            if a == node and b not in near:
                near[b] = near[a] + 1
                reached.append(b)
    return {(a, b) for a, b in edges if near.get(b, 0) < near.get(a, 0)}


def _layers(nodes: Sequence[str], edges: Sequence[Edge]) -> list[list[str]]:
    """Each node one layer below the lowest of those that lead to it."""
    depth = dict.fromkeys(nodes, 0)
    for _ in nodes:
        for a, b in edges:
            depth[b] = max(depth[b], depth[a] + 1)
    return [[name for name in nodes if depth[name] == level] for level in range(max(depth.values()) + 1)]


def _boxes(texts: list[list[str]], width: int) -> list[str]:
    """One row of boxes, or one box with a line each where the row would be too wide."""
    wide = [max(len(line) for line in text) + 4 for text in texts]
    if sum(wide) + GAP * (len(wide) - 1) > width:
        longest = max(len(text[0]) for text in texts)
        texts = [[f"{text[0]:<{longest}}  {' '.join(text[1:])}".rstrip() for text in texts]]
        wide = [max(len(line) for line in texts[0]) + 4]
    rows = [[f"┌{'─' * (w - 2)}┐" for w in wide]]
    rows += [
        [f"│{line.center(w - 2)}│" for line, w in zip(lines, wide, strict=True)]
        for lines in zip_longest(*texts, fillvalue="")
    ]
    rows.append([f"└{'─' * (w - 2)}┘" for w in wide])
    return [(" " * GAP).join(row) for row in rows]


def _joined(block: list[str], middle: int, *, above: bool, below: bool) -> list[str]:
    """A block centred on column `middle`, with what leads into it and out of it."""
    left = middle - len(block[0]) // 2
    lines = [" " * max(left, 0) + line for line in block]
    tops = [n for n, (a, b) in enumerate(zip(lines[0], lines[0][1:] + " ", strict=True)) if a == "┌"]
    ends = [n for n, a in enumerate(lines[0]) if a == "┐"]
    centres = [(a + b) // 2 for a, b in zip(tops, ends, strict=True)]
    if len(centres) == 1:
        centres = [middle]
    if above:
        lines[0] = _marked(lines[0], centres, "┴")
        if len(centres) > 1:
            lines.insert(0, _bus(centres, middle, spread="┬", to="┴"))
        else:
            lines.insert(0, " " * middle + "│")
    if below:
        lines[-1] = _marked(lines[-1], centres, "┬")
        if len(centres) > 1:
            lines.append(_bus(centres, middle, spread="┴", to="┬"))
    return lines


def _bus(centres: list[int], middle: int, *, spread: str, to: str) -> str:
    """The line that joins every box of a row to the column in the middle."""
    first, last = min(*centres, middle), max(*centres, middle)
    corners = {"┬": "┌┐", "┴": "└┘"}[spread]
    line = dict.fromkeys(range(first, last + 1), "─") | dict.fromkeys(centres, spread)
    line |= {first: corners[0], last: corners[1]}
    line[middle] = "┼" if middle in centres else to
    return "".join(line.get(n, " ") for n in range(last + 1))


def _marked(line: str, columns: Iterable[int], mark: str) -> str:
    letters = list(line)
    for column in columns:
        letters[column] = mark
    return "".join(letters)


def _listed(edges: Sequence[Edge], labels: Mapping[str, str], width: int) -> list[str]:
    """Edges as text, one entry for each node they leave."""
    names = {name: label.split("\n")[0] for name, label in labels.items()}
    targets: dict[str, list[str]] = {}
    for a, b in edges:
        targets.setdefault(names.get(a, a), []).append(names.get(b, b))
    entries = (f"{a} → {', '.join(b)}" for a, b in targets.items())
    return [line for entry in entries for line in wrap(entry, width, initial_indent="  ", subsequent_indent="    ")]
