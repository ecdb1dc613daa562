"""Charts: the same data give the same bytes, and a file that is what it says."""

from pathlib import Path

from muser.viewer.charts import MOST_VALUES, OTHERS, draw_loss, loss_curves, pair_map, score_bars, value_bars

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


def test_the_values_of_each_attribute_become_bars_the_rarest_left_out_by_number() -> None:
    many = [(f"condition {n}", 2.0, n) for n in range(MOST_VALUES + 5)]
    drawn = value_bars({"who": [("parent", 3.0, 4), ("nurse", 1.0, 0)], "what": many, "how": [("terse", 1.0, 1)]})
    assert drawn == value_bars(
        {"who": [("parent", 3.0, 4), ("nurse", 1.0, 0)], "what": many, "how": [("terse", 1.0, 1)]}
    )
    assert b">nurse</text>" in drawn
    assert b">what, and 5 rarer values</text>" in drawn
    assert b">condition 16</text>" in drawn
    assert b">condition 4</text>" not in drawn


def test_a_map_of_pairs_names_its_values_and_draws_without_any_sample() -> None:
    drawn = pair_map(["parent", "nurse"], ["flu"], [[3], [0]], {(1, 0)})
    assert drawn == pair_map(["parent", "nurse"], ["flu"], [[3], [0]], {(1, 0)})
    assert b">parent</text>" in drawn
    assert OTHERS[2].encode() in drawn
    assert OTHERS[2].encode() not in pair_map(["parent"], ["flu"], [[0]], set())
