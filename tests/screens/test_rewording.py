import random

from muser.screens.rewording import reword, translate, truncate

TEXT = "I have had a headache for three days, and my doctor said it is normal. Should I take ibuprofen?"


def test_truncation_keeps_two_thirds_of_the_words_and_at_least_one() -> None:
    assert truncate(TEXT) == "I have had a headache for three days, and my doctor said it"
    assert truncate("Fever") == "Fever"


def test_rewording_uses_synonyms_and_moves_clauses_and_is_the_same_for_the_same_seed() -> None:
    texts = {reword(TEXT, random.Random(seed)) for seed in range(20)}
    assert all("physician" in text or len(text.split()) < len(TEXT.split()) for text in texts)
    assert any(text.startswith("must I") for text in texts)
    assert reword(TEXT, random.Random(1)) == reword(TEXT, random.Random(1))
    assert reword("我头痛", random.Random(0)) == "我头痛"


def test_translation_replaces_the_words_of_the_glossary() -> None:
    assert translate("My doctor said ibuprofen is safe") == "mi médico said ibuprofen es seguro"
