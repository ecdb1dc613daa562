"""Digests and seeds: pinned, since stored runs depend on them."""

from muser.core.hashing import derive_seed, digest


def test_digests_and_seeds_are_the_same_everywhere() -> None:
    assert digest({"b": 1, "a": ["é", None]}) == digest({"a": ["é", None], "b": 1})
    assert digest("x") == "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    assert derive_seed(7, "persona", 1) == 1523480919
    assert derive_seed("7", "persona", "1") == derive_seed(7, "persona", 1)


def test_seeds_tell_their_parts_apart() -> None:
    seeds = {derive_seed("ab", "c"), derive_seed("a", "bc"), derive_seed("abc"), derive_seed("ab", "c", 0)}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_text_that_is_no_unicode_has_a_digest() -> None:
    assert digest("\ud800") != digest("?")
