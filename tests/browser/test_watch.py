"""The tests themselves: payloads that do take effect are seen, and the hostile run went through the whole graph."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muser.store.file.database import Store

from .hostile import CANARY, PAYLOADS

# The first test also waits for the runs that all of them share.
pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

EFFECTS = {
    "script": "dialog script",
    "handler": "dialog handler",
    "remote": f"request http://{CANARY}/i.png",
    "document": f"request http://{CANARY}/",
}


@pytest.mark.parametrize("name", EFFECTS)
def test_a_payload_that_takes_effect_is_seen(name: str, tmp_path: Path, watch_of: Callable[..., Any]) -> None:
    naive = tmp_path / "naive.html"
    page_text = f"<!doctype html><meta charset=utf-8><title>x</title>{PAYLOADS[name]}"
    naive.write_text(page_text, encoding="utf-8")
    with watch_of("file://") as (page, watch):
        page.goto(naive.as_uri(), wait_until="commit")
        page.wait_for_timeout(300)
    assert EFFECTS[name] in watch.seen


def test_the_payloads_are_in_every_kind_of_text(store: Path) -> None:
    with Store.open(store, create=False) as opened:
        done = opened.read("SELECT * FROM traces WHERE sample = 'hostile/q000001'")[0]
        assert all("<script>" in done[name] for name in ("query", "reasoning", "answer", "refined_answer"))
        assert "safety: revise" in done["verdicts"]
        causes = opened.read("SELECT cause FROM traces WHERE run = 'hostile' AND cause LIKE '%<script>%'")
        assert causes
        assert opened.read("SELECT 1 FROM calls_plain WHERE served LIKE '%onerror%'")
