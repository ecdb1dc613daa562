"""The report's page: what it shows, what it marks, and that nothing in it can act on a reader's browser."""

from typing import Any

import pytest

from muser.pipeline.report import render

HOSTILE = "<script>alert(1)</script> | x"


def score(mean: float) -> dict[str, float]:
    return {"mean": mean, "n": 3, "std": 0.1, "low": max(0.0, mean - 0.1), "high": min(1.0, mean + 0.1)}


def report(overall: float, accuracy: float) -> dict[str, Any]:
    return {
        "overall": score(overall),
        "rubric_tags": {"axis:accuracy": score(accuracy), "level:example": score(overall)},
        "example_tags": {"theme:context_seeking": score(overall)},
        "examples": 3,
        "left_out_unjudged": 1,
        "left_out_undefined": 0,
        "items": 12,
        "items_unjudged": 2,
        "forged": 0,
    }


def difference(value: float, verdict: str) -> dict[str, Any]:
    return {"difference": value, "low": value - 0.1, "high": value + 0.1, "verdict": verdict, "reason": ""}


@pytest.fixture
def data() -> dict[str, Any]:
    """A gathered report of two stages."""
    better, worse = difference(0.4, "higher"), difference(-0.2, "lower")
    run = {"id": "trial-distill", "kind": "samples", "fingerprint": "f" * 64, "seed": 0, "git_commit": None}
    artifact = {"id": 3, "kind": "model", "name": "student", "stage": "distill", "digest": "d" * 64, "run_id": None}
    role = {"role": "responder", "calls": 4, "reused": 1, "tokens_in": 100, "tokens_out": 50, "tokens_cached": 25}
    trained = {"rows": 4, "rows_dropped": 1, "steps": 2, "loss_first": 5.0, "loss_last": 1.0, "seconds": 3.2}
    trained |= {"held_out": 2, "held_out_loss_first": 5.5, "held_out_loss_last": 2.25}
    return {
        "note": "A pilot.",
        "caption": "Simulated: everything.",
        "scores": {
            "base": {"report": report(0.1, 0.5), "differences": {}, "cut_off": 3, "failed": 0},
            "refine": {
                "report": report(0.5, 0.3),
                "differences": {"base": {"overall": better, "axis:accuracy": worse}},
                "cut_off": 0,
                "failed": 0,
            },
        },
        "training": {"distill": trained | {"tokens": 1234, "peak_memory_mb": 800}},
        "funnel": [{"step": "asked", "samples": 4, "lost": {"EndpointTimeout at respond": 2}}],
        "verdicts": {"safety": {"pass": 1, "revise": 3}},
        "critics": {
            "accounts": [
                {"critic": "safety", "from_plan": 0.5, "by_chance": 0.125, "taken_up": None}
                | {"added_if_revise": 12.4, "added_if_pass": None}
            ],
            "stability": [{"critic": "safety", "asked_again": 8, "same": 6}],
            "planted": [
                {"critic": "safety", "facet": "safety", "faults": 12, "sensitivity": 0.25, "specificity": 0.75}
            ],
        },
        "cost": [
            {"step": "distill.run", "samples": 4, "seconds": 2.0, "roles": [role], "serving": {}},
            {
                "step": "eval.base",
                "samples": 3,
                "seconds": 2.0,
                "roles": [],
                "serving": {"seconds": 20},
            },
        ],
        "provenance": {
            "runs": [run],
            "artifacts": [artifact | {"path": "output/model", "made_of": [1, 2]}],
            "versions": {"muser": "0.1", "python": "3.11"},
        },
        "command": "muser pipeline recipe.yaml",
        "recipe": f"name: trial # {HOSTILE}\n",
    }


def test_the_table_has_scores_then_differences_and_marks_what_got_worse(data: dict[str, Any]) -> None:
    table = render.score_table(data["scores"])
    assert table.columns == ("", "n", "base", "refine", "refine − base")
    assert table.rows == (
        ("overall", "3", "10.0 [0.0, 20.0]", "50.0 [40.0, 60.0]", "+40.0 [+30.0, +50.0]"),
        ("accuracy", "3", "50.0 [40.0, 60.0]", "30.0 [20.0, 40.0]", "-20.0 [-30.0, -10.0] ▼"),
        ("theme: context seeking", "3", "10.0 [0.0, 20.0]", "50.0 [40.0, 60.0]", "–"),
    )


def test_markdown_shows_everything_that_was_gathered(data: dict[str, Any]) -> None:
    text = render.markdown("trial", list(render.blocks(data, {"scores": "s.svg", "losses": "l.svg"})))
    for part in (
        "# trial\n\nA pilot.\n",
        "Simulated: everything.",
        "Nothing here is medical advice.",
        "| refine | 3 | 0 | 1 | 12 | 2 | 0 |",
        "| distill | 4 | 1 | 2 | 2 | 5.000 → 1.000 | 5.500 → 2.250 | 1,234 | 3 s | 800 MB |",
        "| asked | 4 | 2 EndpointTimeout at respond |",
        "| safety | 4 | 25 % | 75 % |",
        "| safety | 50 % | 12 % | – | +12 | – |",
        "| safety | 8 | 75 % |",
        "| safety | safety | 12 | 25 % | 75 % |",
        "| distill.run | 4 | 4 | 1 | 100 | 25 % | 50 | 2 s |",
        "| eval.base | 3 | 0 | 0 | 0 | – | 0 | 20 s |",
        "| 3 | model student distill | dddddddddddd | 1, 2 | output/model |",
        "![Scores of every stage, overall and by axis and theme](s.svg)",
        "```\nmuser pipeline recipe.yaml\n```",
        "muser 0.1, python 3.11",
    ):
        assert part in text


def test_html_is_one_file_that_loads_nothing_and_runs_nothing(data: dict[str, Any]) -> None:
    data["funnel"][0]["step"] = HOSTILE
    parts = list(render.blocks(data, {"scores": "s.svg"}))
    text = render.html("trial", parts, {"s.svg": b"<svg/>"})
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "default-src 'none'" in text
    assert 'src="data:image/svg+xml;base64,PHN2Zy8+"' in text
    assert "prefers-color-scheme: dark" in text
    assert "http:" not in text.replace("http-equiv", "")


def test_a_cell_cannot_break_its_row_in_markdown(data: dict[str, Any]) -> None:
    data["funnel"][0]["step"] = "a | b\nc"
    line = next(line for line in render.markdown("t", list(render.blocks(data, {}))).splitlines() if "a \\| b" in line)
    assert line == "| a \\| b c | 4 | 2 EndpointTimeout at respond |"


def test_a_report_without_scores_has_no_table_of_them(data: dict[str, Any]) -> None:
    text = render.markdown("trial", list(render.blocks(data | {"scores": {}, "caption": "", "note": None}, {})))
    assert "## Scores" not in text
    assert "Simulated" not in text
