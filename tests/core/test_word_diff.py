"""Word diffs."""

from collections import deque
from collections.abc import Callable
from random import Random

import pytest

from muser.core.word_diff import word_diff

from ..growth import LINEAR, growth


def words(before: str, after: str) -> str:
    marks = {"same": "{}", "out": "[-{}-]", "in": "{{+{}+}}"}
    return "".join(marks[change].format(text) for change, text in word_diff(before, after))


def test_a_word_diff_shows_what_went_and_what_came() -> None:
    assert (
        words(
            "Rest today and drink enough. Call your doctor tomorrow.",
            "Rest today and drink enough. Call your doctor now.",
        )
        == "Rest today and drink enough. Call your doctor [-tomorrow.-] {+now.+} "
    )


def test_changes_with_few_words_between_them_are_one() -> None:
    assert words("red and blue then it is over", "green and white then it is over").startswith(
        "[-red and blue-] {+green and white+} then"
    )


def test_lines_stay_where_the_new_text_has_them() -> None:
    assert words("one two three", "one two three\n\nfour").strip() == "one two three\n\n{+four+}"


def test_equal_texts_have_no_change_and_empty_ones_no_word() -> None:
    assert words("a b", "a b") == "a b"
    assert words("", "") == ""
    assert words("", "new words").strip() == "{+new words+}"


def test_a_word_said_a_hundred_thousand_times_does_not_hang() -> None:
    before, after = "now " + "a word and " * 40_000 + "end", "then " + "a word or " * 30_000 + "end"
    steps = list(word_diff(before, after))
    assert [change for change, text in steps if text.strip()] == ["out", "in", "same"]
    assert word_diff(before, before).__next__() == ("same", before)


def disordered(size: int, seed: int) -> list[str]:
    return Random(seed).choices("ab", k=size)


def moved(size: int, seed: int) -> list[str]:
    return [str(number) for number in Random(seed).sample(range(size), size)]


def around_new_words(size: int, seed: int) -> list[str]:
    return [word for number in range(size // 2) for word in ("x", f"{seed}-{number}")]


def around_new_words_between_anchors(size: int, seed: int) -> list[str]:
    return [f"a{at // 60}" if at % 60 == 0 else word for at, word in enumerate(around_new_words(size, seed))]


SHAPES: list[Callable[[int, int], list[str]]] = [disordered, moved, around_new_words, around_new_words_between_anchors]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_time_to_compare_texts_grows_as_the_texts_do(shape: Callable[[int, int], list[str]]) -> None:
    def compare(size: int) -> None:
        deque(word_diff(" ".join(shape(size, 1)), " ".join(shape(size, 2))), maxlen=0)

    assert growth(compare, 1_500) < LINEAR


def test_long_texts_keep_the_words_that_stay() -> None:
    before = [f"the {word} of" for word in range(3_000)]
    after = ["a new beginning", *(text for number, text in enumerate(before) if number % 7)]
    kept = "".join(text for change, text in word_diff(" ".join(before), " ".join(after)) if change == "same")
    assert len(kept.split()) > 0.95 * 3 * (len(after) - 1)


def test_what_is_taken_from_the_end_stands_apart_from_what_stays() -> None:
    assert words("Do rest well. Then call.", "Do rest well.").strip() == "Do rest well. [-Then call.-]"
