"""The templates that the server's pages and the exported file share, and what they use."""

from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..core.word_diff import word_diff
from .markdown import render_markdown
from .text import breakable, visible, without_folders

HERE = Path(__file__).parent
OPENING = 20_000
"""Characters of a text that are shown at first; the rest unfolds."""


class ServedLinks:
    """The addresses of the server's pages."""

    def page(self, name: str) -> str:
        """A run's page, or a sample's (RUN/KEY), whose key may contain any character."""
        run, _, key = name.partition("/")
        return f"/runs/{quote(run, safe='')}" + (f"/samples/{quote(key, safe='')}" if key else "")

    def samples(self, run: str, where: str) -> str:
        """A run's samples that match a filter."""
        return f"{self.page(run)}/samples?{urlencode({'where': where})}"

    def compare(self, first: str, second: str) -> str:
        """Two runs."""
        return f"/compare?{urlencode({'a': first, 'b': second})}"

    def pair(self, first: str, second: str) -> str:
        """Two samples."""
        return f"/pair?{urlencode({'a': first, 'b': second})}"


class FileLinks:
    """The addresses inside an exported file that has these `pages`; empty for what it has no page of."""

    def __init__(self, pages: Collection[str]) -> None:
        self._pages = pages

    def page(self, name: str) -> str:
        """A run's or a sample's page."""
        return f"#/{quote(visible(name))}" if name in self._pages else ""

    def samples(self, *_: str) -> str:
        """None: the file's list has its own filters."""
        return ""

    def compare(self, first: str, second: str) -> str:
        """Two runs, under the name that `pair` gives them."""
        return self.page(f"{first}={second}")

    def pair(self, first: str, second: str) -> str:
        """Two samples, as the page FIRST=SECOND."""
        return self.page(f"{first}={second}")


def build_templates(name: str, links: ServedLinks | FileLinks) -> Environment:
    """The templates for a store of this name. With FileLinks they leave out what needs a server."""
    templates = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "diff": _diff,
        "markdown": render_markdown,
        "clock": _clock,
        "duration": _duration,
        "change": without_folders,
        "breakable": breakable,
    }
    is_file = isinstance(links, FileLinks)
    layout = "part.html" if is_file else "base.html"
    templates.globals |= {"OPENING": OPENING, "name": name, "links": links, "is_file": is_file, "layout": layout}
    return templates


def _finalize(value: Any) -> Any:
    return value if isinstance(value, Markup) else visible(value) if isinstance(value, str) else value


def _diff(before: str, after: str) -> list[tuple[str, str]]:
    return list(word_diff(before, after))


def _clock(moment: str | None) -> str:
    """2026-01-31T12:00:00… without the T and fractions; times are UTC."""
    return (moment or "")[:19].replace("T", " ")


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 120 else f"{minutes} min {rest} s"
