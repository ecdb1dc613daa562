"""Models' Markdown on a page: what is rendered, that nothing acts or gets lost, and in bounded time."""

import re
import time
from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muser.viewer.markdown import ATTRIBUTES, LONGEST, NESTING, TAGS, render_markdown

ANSWER = """\
# What to do

1. Rest.
2. Drink **2 litres** a day:
   - water
   - `oral rehydration salts`

| sign | act |
|:-----|----:|
| fever | call |

Line one
line two
"""

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "[click](https://canary.invalid/ 'title')",
    "![pixel](http://canary.invalid/p.png)",
    "![pixel](data:image/svg+xml;base64,PHN2Zy8+)",
    "<javascript:alert(1)>",
    "<https://canary.invalid>",
    "[a]\n\n[a]: javascript:alert(1)",
    "![a]\n\n[a]: http://canary.invalid/p.png",
    '"><svg onload=alert(1)>',
    "<style>*{display:none}</style>",
    "| a |\n|---|\n| <img src=//canary.invalid> [x](javascript:x) |",
    "# <a href=javascript:x>x</a>",
)


class Elements(HTMLParser):
    """Every element and attribute of some HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))


def words_of(html: str) -> str:
    """The text of some HTML without white space."""
    return re.sub(r"\s", "", unescape(re.sub(r"<[^>]*>", "", html)))


def test_lists_tables_code_and_headings_are_rendered_below_the_pages_own_headings() -> None:
    html = render_markdown(ANSWER)
    assert html
    assert "<h3>What to do</h3>" in html
    assert "<strong>2 litres</strong>" in html
    assert "<code>oral rehydration salts</code>" in html
    assert re.search(r"<ol>\s*<li>Rest.</li>", html)
    assert re.search(r"<th>sign</th>.*<td>fever</td>", html, re.DOTALL)
    assert "Line one<br>" in html
    assert "bash" in words_of(str(render_markdown("```bash\ndate\n```")))
    assert "<h6>deep</h6>" in str(render_markdown("##### deep"))
    assert '<ol start="7">' in str(render_markdown("7. seventh"))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_markdown_is_shown_as_written_and_does_nothing(text: str) -> None:
    html = render_markdown(text)
    assert html
    for tag, attributes in Elements(html).found:
        assert tag in TAGS
        assert set(attributes) <= ATTRIBUTES.get(tag, set())
    shown = words_of(html)
    assert all(part in shown for part in re.findall(r"javascript:|canary\.invalid|data:image|onload", text))


def test_entities_spell_no_invisible_characters() -> None:
    assert "&amp;#x202e;gnp.exe" in str(render_markdown("&#x202e;gnp.exe"))


@pytest.mark.parametrize(
    "text",
    [
        ">" * LONGEST + "a",
        "\n".join("  " * depth + "- x" for depth in range(NESTING + 1)),
        "|" * 100 + "\n" + "|-" * 100 + "\n" + "|\n" * 1000,
        "| a | b |\n|---|---|\n| 1 | 2 | a third |",
        "x" * (LONGEST + 1),
    ],
)
def test_a_text_that_cannot_be_rendered_whole_is_left_as_written(text: str) -> None:
    assert render_markdown(text) is None


@pytest.mark.parametrize(
    "unit", ["*a **a ", "_a__b", "**a", "a\n-\n", "[", "[a](", "<", "&#x41;", "`a``", "~~a", "1. a\n", "| a\n", "\\"]
)
def test_the_longest_text_is_rendered_in_bounded_time(unit: str) -> None:
    began = time.process_time()
    render_markdown((unit * LONGEST)[:LONGEST])
    assert time.process_time() - began < 3


@settings(max_examples=200, deadline=None)
@given(st.text("ab \n#*_->|+=()[]!<1.\\`~&;", max_size=120))
def test_no_letter_of_an_answer_gets_lost(text: str) -> None:
    html = render_markdown(text)
    if html is not None:
        assert re.sub("[^ab]", "", words_of(html)) == re.sub("[^ab]", "", text)
