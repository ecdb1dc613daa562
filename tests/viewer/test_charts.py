"""Charts: the same data give the same bytes, and a file that is what it says."""

from pathlib import Path

from muser.viewer.charts import draw_loss, loss_curves, score_bars

HISTORY = [{"step": step, "loss": 5 / step} for step in range(1, 20)]
SCORES = {
    "base": {"overall": (0.1, 0.0, 0.2)},
    "refine": {"overall": (0.6, 0.5, 0.7), "accuracy": (0.9, 0.8, 1.0)},
}


def test_a_loss_curve_is_a_png(tmp_path: Path) -> None:
    draw_loss(HISTORY, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_losses_give_the_same_svg_with_every_stage_named() -> None:
    drawn = loss_curves({"distill": HISTORY, "refine": HISTORY[:5]})
    assert drawn == loss_curves({"distill": HISTORY, "refine": HISTORY[:5]})
    assert b">distill</text>" in drawn
    assert b">refine</text>" in drawn
    assert b"<dc:date>" not in drawn


def test_scores_become_bars_with_every_metric_named_and_missing_ones_left_out() -> None:
    drawn = score_bars(SCORES)
    assert drawn == score_bars(SCORES)
    assert b">accuracy</text>" in drawn


def test_one_example_makes_a_chart_too() -> None:
    assert score_bars({"base": {"overall": (0.0, 0.0, 0.0)}}).lstrip().startswith(b"<?xml")
    assert loss_curves({"distill": HISTORY[:1]})
