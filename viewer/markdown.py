"""A model's Markdown as HTML that loads nothing and leads nowhere: a few tags, no attributes, links as written."""

from collections.abc import Sequence
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markupsafe import Markup, escape

from .text import breakable, visible

LONGEST = 20_000
"""Most characters of a text that is rendered; a longer one is shown as written."""
CELLS = 2_000
"""Most cells of all tables of a text."""
NESTING = 20
"""Most lists and quotations inside one another."""

HEADINGS = {"h1": "h3", "h2": "h4", "h3": "h5", "h4": "h6", "h5": "h6", "h6": "h6"}
"""A card's own title is an h2."""

# These are left as the text that they are written as: an address is then seen and never followed, and no entity spells
# a character that `visible` replaces.
UNREAD = ["link", "image", "autolink", "html_inline", "html_block", "reference", "entity"]
TAGS = {
    "p", "br", "hr", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "code", "em", "strong", "s",
    "table", "thead", "tbody", "tr", "th", "td", "wbr", "div",
}  # fmt: skip
ATTRIBUTES = {"ol": {"start"}, "div": {"class", "tabindex", "role", "aria-label"}}


def render_markdown(text: str) -> Markup | None:
    """The text as HTML; None if it is too long, or if Markdown would hide a part of it: then show it as written."""
    # markdown-it fills up every row of a table to the width of its head, so a few bytes can ask for millions of cells.
    lines = text.split("\n")
    if len(text) > LONGEST or max(line.count("|") for line in lines) * sum("|" in line for line in lines) > CELLS:
        return None
    shown = visible(text)
    tokens = _MARKDOWN.parse(shown)
    # Markdown drops what is nested too deeply, and the cells of a row that the table's head has no column for.
    if _signs(shown) != _signs("".join(token.info + token.content for token in tokens)):
        return None
    html = _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})
    return Markup(nh3.clean(html, tags=TAGS, attributes=ATTRIBUTES))  # noqa: S704


def _signs(text: str) -> str:
    return "".join(filter(str.isalnum, text))


def _lower_headings(state: StateCore) -> None:
    for token in state.tokens:
        token.tag = HEADINGS.get(token.tag, token.tag)
        if token.type in ("th_open", "td_open"):
            token.attrs = {}  # the alignment is a style, which the pages' policy forbids


class _Renderer(RendererHTML):
    """Its public methods are rules, named after the tokens that they render."""

    def text(self, tokens: Sequence[Token], idx: int, *_: Any) -> str:
        return breakable(tokens[idx].content)

    def fence(self, tokens: Sequence[Token], idx: int, *_: Any) -> str:
        info = f'<div class="faint">{escape(tokens[idx].info)}</div>' if tokens[idx].info else ""
        return f"{info}<pre><code>{escape(tokens[idx].content)}</code></pre>\n"

    def code_block(self, tokens: Sequence[Token], idx: int, *_: Any) -> str:
        return self.fence(tokens, idx)

    def table_open(self, *_: Any) -> str:
        return '<div class="wide" tabindex="0" role="region" aria-label="table"><table>'

    def table_close(self, *_: Any) -> str:
        return "</table></div>"


def _parser() -> MarkdownIt:
    # Models end a line where they want it to end.
    options = {"html": False, "breaks": True, "maxNesting": NESTING}
    parser = MarkdownIt("commonmark", options, renderer_cls=_Renderer)
    parser.enable(["table", "strikethrough"]).disable(UNREAD)
    parser.core.ruler.push("lower_headings", _lower_headings)
    return parser


_MARKDOWN = _parser()
