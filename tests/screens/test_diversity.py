"""Diversity of texts: each figure on texts of which it is known."""

import random

import numpy as np
import pytest

from muser.screens.diversity import (
    compression_ratio,
    distinct_share,
    measure_diversity,
    near_duplicate_share,
    vendi_score,
)

WORDS = [f"{a}{b}" for a in ("ba", "ce", "di", "fo", "gu", "ha", "ki", "lo") for b in ("ran", "tel", "min", "sup")]


def sentences(count: int) -> list[str]:
    draw = random.Random(1)
    return [" ".join(draw.choices(WORDS, k=20)) for _ in range(count)]


def test_distinct_counts_each_n_gram_once() -> None:
    assert distinct_share(["my head hurts", "My head aches."], 1) == pytest.approx(4 / 6)
    assert distinct_share(["my head hurts", "My head aches."], 2) == pytest.approx(3 / 4)
    assert distinct_share(["fever"], 3) == 0.0


def test_repeated_texts_compress_better_than_different_ones() -> None:
    assert compression_ratio(sentences(1) * 50) > 5 * compression_ratio(sentences(50))


def test_near_duplicates_are_those_that_the_screen_would_reject() -> None:
    texts = sentences(30)
    altered = texts[3].replace(texts[3].split()[10], "altogether")
    assert near_duplicate_share(texts) == 0.0
    assert near_duplicate_share([*texts, texts[5].upper(), altered]) == pytest.approx(2 / 32)


def test_the_vendi_score_is_the_number_of_texts_if_none_are_alike_and_1_if_all_are() -> None:
    assert vendi_score(np.eye(7)) == pytest.approx(7)
    assert vendi_score(np.ones((7, 3))) == pytest.approx(1)
    assert vendi_score(np.repeat(np.eye(4), 5, axis=0) * 3) == pytest.approx(4)
    assert vendi_score(np.zeros((0, 3))) == 0.0


def test_without_texts_every_figure_is_0_and_without_embeddings_there_is_no_vendi_score() -> None:
    found = measure_diversity([])
    assert (found.texts, found.compression_ratio, found.near_duplicates, found.vendi) == (0, 0.0, 0.0, None)
    assert measure_diversity(["a b", "c d"], np.eye(2)).vendi == pytest.approx(2)
