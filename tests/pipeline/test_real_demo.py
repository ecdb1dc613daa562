"""The real demo's second recipe, which needs no model to be written."""

from pathlib import Path

from muser.core.loading import parse_recipe
from muser.pipeline import demo, real_demo


def test_the_report_of_scripted_answers_and_a_worthless_model_says_so(tmp_path: Path) -> None:
    for name in (real_demo.ANSWERS, real_demo.BENCHMARK):
        (tmp_path / name).touch()
    text = (demo.RECIPES / "smollm2.yaml").read_text(encoding="utf-8")
    recipe = parse_recipe(real_demo.training_text(text, tmp_path / "training.yaml"), tmp_path)
    assert (recipe.queries, recipe.samples) == (real_demo.ANSWERS, 0)
    assert recipe.evaluation is not None
    assert recipe.note is not None
    assert recipe.note.startswith(real_demo.SCRIPTED)
    assert "medically worthless" in recipe.note
