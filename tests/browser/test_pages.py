"""The viewer in Chromium: every page with hostile texts, live update, keys, compare, playground, light, dark, phone."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from .contrast import hard_to_read
from .hostile import HUGE, PAYLOADS

if TYPE_CHECKING:
    from playwright.sync_api import Page

# The first test also waits for the runs that all of them share.
pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

Visit = Callable[..., "Page"]
PAGES = (
    "/",
    "/samples",
    "/runs/clinic",
    "/runs/hostile",
    "/runs/hostile/samples",
    "/runs/clinic/coverage?rows=identity&columns=completeness",
    "/runs/clinic/samples/s000002",
    "/compare?a=clinic&b=clinic-fork",
    "/pair?a=clinic/q000001&b=clinic-fork/q000001",
)
TRACES = ("s000001", "q000001", "q000002", "q000003", "q000004")
UNFOLD = "document.querySelectorAll('details:not(.rest)').forEach((each) => { each.open = true; })"


@pytest.fixture
def visit(viewer: str, watched: Callable[..., "Page"]) -> Visit:
    """Opens the viewer with its token in a context of its own: options of the context → a page on the list of runs."""
    home = "{0.scheme}://{0.netloc}".format(urlsplit(viewer))

    def open_page(**options: object) -> "Page":
        page = watched(home, base_url=home, **options)
        page.goto(viewer)
        return page

    return open_page


def test_payloads_on_every_trace_are_shown_and_do_nothing(visit: Visit) -> None:
    page = visit()
    assert "token=" not in page.url
    for sample in TRACES:
        page.goto(f"/runs/hostile/samples/{sample}")
        page.evaluate(UNFOLD)
        page.get_by_label("raw text").check()
        shown = page.locator("main").inner_text()
        for name in ("script", "handler", "link", "template", "clobbering"):
            assert PAYLOADS[name] in shown, name
        assert page.locator("main img, main iframe, main script, main style, main a[href^='java']").count() == 0
        assert page.title().startswith(f"hostile/{sample}")


def test_payloads_in_lists_addresses_and_searches_do_nothing(visit: Visit) -> None:
    page = visit()
    page.goto("/runs/hostile/samples")
    assert "<script>alert('script')</script>" in page.locator("ol.samples").inner_text()
    page.locator("#search").fill(PAYLOADS["attribute"])
    page.keyboard.press("Enter")
    page.get_by_label("Filter").fill(PAYLOADS["script"])
    page.keyboard.press("Enter")
    page.wait_for_selector(".note")
    assert "<script>" in page.locator(".note").inner_text()
    assert page.locator("main script").count() == 0


def test_a_cell_of_a_heat_map_lists_its_samples(visit: Visit) -> None:
    page = visit()
    page.goto("/runs/clinic")
    page.get_by_role("link", name="pairs of values as a heat map").click()
    page.get_by_label("rows").select_option("vagueness")
    page.get_by_label("columns").select_option("completeness")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**rows=vagueness**")
    assert page.locator("h1").inner_text() == "vagueness × completeness"
    cell = page.locator(".heat td a").first
    count = cell.inner_text()
    cell.click()
    assert page.locator("#samples > p").inner_text().startswith(f"{count} samples")


def test_bidi_marks_and_control_codes_are_spelt_out(visit: Visit) -> None:
    page = visit()
    page.goto("/runs/hostile/samples/q000001")
    shown = page.locator("main").inner_text()
    assert "‹U+202E›gnp.exe" in shown
    assert not re.search("[\x00-\x08\x0e-\x1f\u202a-\u202e\u2066-\u2069]", shown)


def test_a_long_text_unfolds_and_leaves_the_page_usable(visit: Visit) -> None:
    page = visit()
    page.goto("/runs/hostile/samples/q000002")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert len(page.locator("#respond").inner_text()) < 30_000
    page.locator("#respond details.rest summary").first.click()
    assert len(page.locator("#respond").inner_text()) > len(HUGE)


def test_from_a_run_to_what_the_safety_critic_wanted_revised_and_why(visit: Visit) -> None:
    page = visit()
    page.get_by_role("link", name="clinic", exact=True).click()
    page.get_by_role("heading", name="Funnel").wait_for()
    page.goto("/runs/clinic/samples")
    page.get_by_label("Filter").fill("verdict.safety=revise")
    page.keyboard.press("Enter")
    page.wait_for_url("**/samples?*where=verdict*")
    page.locator("ol.samples a.row").first.click()
    page.locator("ol.machine").wait_for()
    safety = page.locator("section.critique", has_text="safety")
    assert "revise" in safety.inner_text()
    assert "We should warn of the danger" in safety.inner_text()
    assert page.locator("ol.machine a.node").count() == 6
    assert page.locator("ins").count() > 0


def test_the_playground_replays_an_edited_prompt_and_shows_the_difference(visit: Visit) -> None:
    page = visit()
    page.goto("/runs/clinic/samples/s000003")
    form = page.locator("#playground details", has_text="critics.safety")
    form.locator("summary").click()
    prompt = form.locator("textarea")
    prompt.fill(prompt.input_value().replace("**safety**", "**empathy**"))
    form.get_by_role("button").click()
    page.wait_for_url("**/replays/*")
    page.wait_for_selector("#replay ins", timeout=60_000)
    assert "show the" in page.locator("#replay ins").first.inner_text()
    assert "clinic-fork" in page.locator("#replay a.row").last.inner_text()
    page.locator("#replay a.row").last.click()
    page.wait_for_url("**/samples/s000003")
    assert "made from clinic/s000003, rerun from safety" in page.locator("main").inner_text()


def test_two_runs_are_compared_down_to_a_pair(visit: Visit) -> None:
    page = visit()
    page.get_by_role("link", name="compare").click()
    page.get_by_label("from").select_option("clinic")
    page.get_by_label("to").select_option("clinic-fork")
    page.get_by_role("button", name="Compare").click()
    page.get_by_text("25 samples match, 25 are done in both").wait_for()
    assert page.locator("tr", has_text="safety").locator("td").first.inner_text() == "1"
    first = page.locator("ol.samples a.row").first
    assert "safety: revise → pass" in first.inner_text()
    first.click()
    page.get_by_role("heading", name="clinic-fork/q000001 against clinic/q000001").wait_for()
    assert page.locator("del").count() > 0
    page.get_by_role("link", name="clinic-fork/q000001").click()
    page.get_by_role("heading", name="clinic-fork/q000001", exact=True).wait_for()


def test_pages_follow_a_run_without_being_loaded_again(visit: Visit, store: Path, simulated: str) -> None:
    page = visit()
    page.evaluate("window.kept = true")
    text = (store.parent / "recipe.yaml").read_text(encoding="utf-8")
    text = re.sub(r"name: .*", "name: later", re.sub(r"http://[^\"]+", simulated, text)).replace("asked.jsonl", "one")
    (store.parent / "one").write_text('{"query": "Is tea good for a cough?"}\n', encoding="utf-8")
    (store.parent / "later.yaml").write_text(text.replace("samples: 24", "samples: 0"), encoding="utf-8")
    command = [sys.executable, "-m", "muser", "run", "later.yaml"]
    subprocess.run(command, cwd=store.parent, check=True, capture_output=True)
    row = page.locator("tr", has_text="later")
    row.get_by_text("1 / 1").wait_for(timeout=20_000)
    assert page.evaluate("window.kept") is True


def test_everything_can_be_reached_by_keys(visit: Visit) -> None:
    page = visit()
    page.goto("/runs/clinic/samples")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_url("**/samples/s000001")
    page.keyboard.press("j")
    page.wait_for_url("**/samples/s000002")
    page.keyboard.press("e")
    assert page.locator("details.call[open]").count() == 6
    page.keyboard.press("?")
    assert page.locator("dialog#keys").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.wait_for_url("**/samples*")
    assert page.evaluate("document.activeElement.id") == "search"
    page.goto("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_read_well_in_light_and_dark_and_on_a_phone(scheme: str, width: int, visit: Visit) -> None:
    page = visit(color_scheme=scheme, viewport={"width": width, "height": 844})
    for place in PAGES:
        page.goto(place)
        page.evaluate(UNFOLD)
        assert hard_to_read(page) == [], place
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), place


def test_raw_text_is_a_switch_that_is_remembered(visit: Visit) -> None:
    page = visit()
    page.goto("/runs/clinic/samples/s000002")
    rendered, written = page.locator("#respond .rendered"), page.locator("#respond .written")
    assert (rendered.is_visible(), written.is_visible()) == (True, False)
    page.get_by_label("raw text").check()
    assert (rendered.is_visible(), written.is_visible()) == (False, True)
    page.reload()
    assert (rendered.is_visible(), written.is_visible()) == (False, True)
    assert page.get_by_label("raw text").is_checked()


def test_critiques_stand_beside_the_diff_where_there_is_room(visit: Visit) -> None:
    for width, is_beside in ((1280, True), (390, False)):
        page = visit(viewport={"width": width, "height": 900})
        page.goto("/runs/clinic/samples/s000002")
        diff, critic = (page.locator(name).first.bounding_box() for name in ("#refine", ".review .critique"))
        assert diff
        assert critic
        assert (critic["x"] >= diff["x"] + diff["width"]) is is_beside
        assert (critic["y"] < diff["y"] + diff["height"]) is is_beside


def test_a_line_of_text_has_at_most_75_characters(visit: Visit) -> None:
    page = visit()
    page.goto("/runs/hostile/samples/q000002")
    box = page.locator("#respond .text").first
    zero = "const s = document.createElement('span'); s.textContent = '0'.repeat(75); e.after(s);"
    assert box.evaluate(f"(e) => {{ {zero} return e.clientWidth <= s.getBoundingClientRect().width + 1; }}")


OVERLAPS = """() => {
  const boxes = [...document.querySelectorAll('.machine .node strong, .machine .node .state, .machine .node small')]
    .flatMap((one) => { const range = document.createRange(); range.selectNodeContents(one);
      return [...range.getClientRects()].map((box) => [one.textContent, box]); });
  const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
  return boxes.flatMap(([name, box], at) => boxes.slice(at + 1).filter(([, other]) => meet(box, other))
    .map(([other]) => `${name} and ${other}`));
}"""


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_no_two_labels_of_the_machine_overlap(width: int, visit: Visit) -> None:
    page = visit(viewport={"width": width, "height": 900})
    page.goto("/runs/crowded/samples/s000001")
    assert page.locator(".machine .round").count() == 3
    for node in page.locator(".machine .node").all():
        box = node.bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    assert page.locator(".machine .node").count() == 2 + 3 * 8
    assert page.evaluate(OVERLAPS) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
