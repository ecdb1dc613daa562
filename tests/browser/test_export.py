"""The single file, opened from disk: it asks nothing of a network, shows every text as text, and can be searched."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .contrast import hard_to_read
from .hostile import HUGE, PAYLOADS, QUESTIONS

if TYPE_CHECKING:
    from playwright.sync_api import Page

# The first test also waits for the runs that all of them share.
pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

Open = Callable[..., "Page"]
WIDTHS = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}


def write(store: Path, *words: str) -> str:
    """The address of a fresh export."""
    path = store.parent / f"{''.join(words)}.html"
    command = [sys.executable, "-m", "muser", "view", *words, "--store", str(store), "--export", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path.as_uri()


def headed(page: "Page", title: str) -> None:
    """Waits for the page of this title: a change of the part after # ends a moment later."""
    page.get_by_role("heading", level=1, name=title, exact=True).wait_for()


@pytest.fixture(scope="module")
def hostile(store: Path) -> str:
    return write(store, "hostile")


@pytest.fixture(scope="module")
def clinic(store: Path) -> str:
    return write(store, "clinic")


@pytest.fixture(scope="module")
def compared(store: Path) -> str:
    return write(store, "clinic", "clinic-fork")


def test_payloads_are_shown_and_do_nothing(hostile: str, watched: Open) -> None:
    page = watched(hostile)
    page.goto(hostile)
    assert page.locator("ol.samples li").count() == len(QUESTIONS) + 2
    for sample in ("s000001", "q000001", "q000002", "q000003", "q000004"):
        page.goto(f"{hostile}#/hostile/{sample}")
        headed(page, f"hostile/{sample}")
        page.get_by_label("raw text").check()
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        shown = page.locator("main").inner_text()
        for name in ("script", "handler", "link", "template", "clobbering"):
            assert PAYLOADS[name].split("\n")[0] in shown, name
        assert page.locator("main img, main iframe, main form, main script, main a[href^='java']").count() == 0
        assert page.title() == f"hostile/{sample} · hostile · muser"


def test_bidi_marks_and_control_codes_are_spelt_out(hostile: str, watched: Open) -> None:
    page = watched(hostile)
    page.goto(f"{hostile}#/hostile/q000001")
    shown = page.locator("section.card", has_text="Query").first.inner_text()
    assert "‹U+202E›gnp.exe‹U+202C›" in shown
    assert "␛[31mred" in shown
    assert not re.search("[\x00-\x08\x0e-\x1f\u202a-\u202e\u2066-\u2069]", shown)


def test_a_script_that_got_in_all_the_same_would_not_run(hostile: str, watch_of: Callable[..., Any]) -> None:
    with watch_of("file://") as (page, watch):
        page.goto(hostile)
        page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'alert(1)'}))")
        page.evaluate("document.body.append(Object.assign(new Image(), {src: 'http://canary.invalid/'}))")
        page.wait_for_timeout(200)
    # The request was begun and not sent; the policy says so of both.
    assert sum("Content Security Policy" in line for line in watch.seen) == 2
    assert not [line for line in watch.seen if line.startswith("dialog")]


def test_a_long_text_is_unfolded(hostile: str, watched: Open) -> None:
    page = watched(hostile)
    page.goto(f"{hostile}#/hostile/q000002")
    answer = page.locator("#respond")
    assert len(answer.inner_text()) < 30_000
    answer.get_by_text("show the other").first.click()
    assert len(answer.inner_text()) > len(HUGE)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_search_and_filters_find_samples(clinic: str, watched: Open) -> None:
    page = watched(clinic)
    page.goto(clinic)
    assert page.locator("#count").inner_text() == "25 of 25"
    page.keyboard.press("/")
    page.keyboard.type("honey cough")
    assert page.locator("#count").inner_text() == "1 of 25"
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    headed(page, "clinic/q000001")
    page.go_back()
    page.locator("#search").wait_for()
    page.locator("#search").fill("")
    page.get_by_label("Revised by").select_option("safety")
    count = int(page.locator("#count").inner_text().split()[0])
    assert 0 < count <= 25
    page.get_by_label("Status").select_option("done")
    assert page.locator("ol.samples .failed:visible").count() == 0


def test_a_trace_can_be_linked_to_and_walked_by_keys(clinic: str, watched: Open) -> None:
    page = watched(clinic)
    page.goto(f"{clinic}#/clinic/s000002")
    headed(page, "clinic/s000002")
    for title in ("Why", "Persona", "Query", "Response", "Refinement against the response"):
        assert page.get_by_role("heading", name=title, exact=True).is_visible()
    assert page.locator("ins").count() > 0
    page.locator("a.node", has_text="refine").click()
    assert page.url.endswith("#/clinic/s000002")
    page.keyboard.press("j")
    headed(page, "clinic/s000003")
    page.keyboard.press("k")
    headed(page, "clinic/s000002")
    page.get_by_role("link", name="muser").click()
    page.locator("#search").fill("honey cough")
    page.locator("ol.samples a:visible").click()
    headed(page, "clinic/q000001")
    assert page.locator("a[rel=next], a[rel=prev]").count() == 0
    page.keyboard.press("/")
    assert page.locator("#search").input_value() == "honey cough"


def test_two_runs_are_compared_down_to_the_words(compared: str, watched: Open) -> None:
    page = watched(compared)
    page.goto(compared)
    page.get_by_role("link", name="compare clinic-fork with clinic").click()
    headed(page, "Compare")
    assert "critics.safety.prompt: 'safety.md' → 'empathy-" in page.locator("main").inner_text()
    safety = page.locator("table").first.locator("tr", has_text="safety")
    assert safety.locator("td").first.inner_text() == "1"
    first = page.locator("ol.samples a").first
    assert "safety: revise → pass" in first.inner_text()
    first.click()
    headed(page, "clinic-fork/q000001 against clinic/q000001")
    assert page.locator("del").count() > 0
    page.get_by_role("link", name="clinic-fork/q000001").click()
    headed(page, "clinic-fork/q000001")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_reads_well_in_light_and_dark_and_on_a_phone(scheme: str, width: str, compared: str, watched: Open) -> None:
    page = watched(compared, color_scheme=scheme, viewport=WIDTHS[width])
    for place in ("", "#/clinic/s000002", "#/clinic", "#/clinic=clinic-fork", "#/clinic/q000001=clinic-fork/q000001"):
        page.goto(f"{compared}{place}")
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert hard_to_read(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_what_was_redacted_says_so(store: Path, watched: Open) -> None:
    address = write(store, "clinic", "--redact=query,reasoning")
    page = watched(address)
    page.goto(address)
    assert page.get_by_text("Redacted by the author of this file: query, reasoning.").is_visible()
    page.goto(f"{address}#/clinic/s000002")
    assert page.get_by_text("[redacted]").first.is_visible()
