"""Problems with their places, and the nearest known word."""

import pytest

from muser.core.errors import PromptError, SettingsError
from muser.core.problems import Problem, nearest, raise_problems, suggestion


def test_the_nearest_word_is_found_whatever_its_case() -> None:
    assert nearest("SAMPLE", ["seed", "samples"]) == "samples"
    assert nearest("safty", ["Safety", "decision"]) == "Safety"
    assert nearest("xyz", ["Safety", "decision"]) is None
    assert nearest("x", []) is None


def test_a_suggestion_names_the_nearest_or_all() -> None:
    assert suggestion("decison", ["safety", "decision"]) == "; did you mean decision?"
    assert suggestion("q", ["safety", "decision"]) == "; known: safety, decision"
    assert suggestion("q", []) == "; none exist"


def test_problems_are_raised_together_each_once_in_the_order_of_lines() -> None:
    late, early = Problem("f", 12, "b", "is wrong"), Problem("f", 2, "a", "is wrong")
    with pytest.raises(PromptError) as caught:
        raise_problems([late, early, late, Problem("f", 0, "", "is old")], "f", PromptError)
    assert caught.value.what.splitlines() == [
        "f has 3 problems", "  f: is old", "  f:2: a: is wrong", "  f:12: b: is wrong",
    ]  # fmt: skip


def test_one_problem_is_one_line_and_none_is_no_error() -> None:
    raise_problems([], "f")
    with pytest.raises(SettingsError, match=r"^f:2: a: is wrong$"):
        raise_problems([Problem("f", 2, "a", "is wrong")], "f")
