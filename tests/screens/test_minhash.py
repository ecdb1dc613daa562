import random

import pytest

from muser.screens.minhash import LEAST, exact_sketch, jaccard, near_sketch

WORDS = [f"word{number}" for number in range(3000)]


def near(left: str, right: str) -> float:
    return jaccard(near_sketch(left).data, [near_sketch(right).data])[0]


def test_equal_words_have_equal_hashes_and_different_words_do_not() -> None:
    text = "My son, who is 4, has a fever. Should I worry?"
    for sketch in (exact_sketch, near_sketch):
        assert sketch(text).hash == sketch(text.upper().replace(",", " ")).hash
        assert sketch(text).hash != sketch(text.replace("4", "5")).hash
    assert exact_sketch(text).hash != near_sketch(text).hash


def test_the_similarity_is_the_share_of_common_pairs_of_words() -> None:
    assert near("a b c d", "a b c d") == 1
    assert near("a b c d", "a b c e") == pytest.approx(2 / 4)
    assert near("is it safe", "safe it is") == 0
    assert near("fever", "fever") == 1
    assert near("fever", "") == near("", "") == 0


def test_near_texts_share_a_bucket_and_unrelated_texts_do_not() -> None:
    rng = random.Random(0)
    shared = unrelated = 0
    for _ in range(200):
        text = rng.choices(WORDS, k=40)
        other = list(text)
        other[rng.randrange(5, 35)] = "changed"
        buckets = set(near_sketch(" ".join(text)).buckets)
        assert near(" ".join(text), " ".join(other)) > LEAST
        shared += bool(buckets & set(near_sketch(" ".join(other)).buckets))
        unrelated += bool(buckets & set(near_sketch(" ".join(rng.choices(WORDS, k=40))).buckets))
    assert shared == 200
    assert unrelated == 0


def test_a_text_without_words_has_no_buckets_and_a_hash() -> None:
    assert near_sketch("?!").buckets == ()
    assert near_sketch("?!").hash == near_sketch("").hash


def test_sketches_are_the_same_on_every_machine() -> None:
    sketch = near_sketch("I have had a headache for three days")
    assert sketch.hash.hex() == "42f709720ee53d565c2b11bc356a5fb5"
    assert sketch.buckets[:2] == (13522170920205, 123897255718613)
    assert all(0 <= key < 2**48 for key in sketch.buckets)
