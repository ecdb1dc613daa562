import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muser.screens.ngrams import Ngrams, needed


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [(3, 50, 4), (5, 50, 5), (50, 8, 8), (10, 10, 8), (13, 90, 11), (20, 20, 13), (99, 99, 13)],
)
def test_the_length_that_counts_adapts_to_the_shorter_text(one: int, other: int, expected: int) -> None:
    assert needed(one, other) == expected


def longest_run(one: Sequence[str], other: Sequence[str]) -> int:
    """By comparing every pair of places."""
    best, before = 0, [0] * (len(other) + 1)
    for left in one:
        row = [0] + [before[at] + 1 if left == right else 0 for at, right in enumerate(other)]
        best, before = max(best, *row), row
    return best


@given(st.lists(st.lists(st.sampled_from("abcde"), min_size=1, max_size=20), min_size=1, max_size=6), st.data())
def test_it_finds_exactly_the_texts_with_a_long_enough_run(texts: list[list[str]], data: st.DataObject) -> None:
    text = data.draw(st.lists(st.sampled_from("abcde"), min_size=4, max_size=20))
    unique = [list(words) for words in dict.fromkeys(map(tuple, texts))]
    expected = {
        number: run / min(len(text), len(other))
        for number, other in enumerate(unique)
        if (run := longest_run(text, other)) >= needed(len(text), len(other))
    }
    assert Ngrams(unique).find(text) == expected


def test_texts_under_four_words_match_only_as_a_whole() -> None:
    index = Ngrams([["what", "is", "gout"], list("abcdefgh")])
    assert index.find(["what", "is", "gout"]) == {0: 1.0}
    assert index.find(["tell", "me", "what", "is", "gout"]) == {}
    assert index.find([]) == {}


def test_a_run_that_ends_one_text_and_begins_the_next_is_of_neither() -> None:
    rng = random.Random(0)
    words = [f"w{n}" for n in rng.sample(range(1000), 40)]
    assert Ngrams([words[:20], words[20:]]).find(words[14:26]) == {}
