from muser.screens.fuzzy import Fuzzy, blocks

TEXTS = [
    "Can I take ibuprofen together with my blood thinner if my knee is swollen after running?",
    "Which vaccines does my toddler need before we travel to a tropical country in spring?",
]


def test_the_order_of_words_and_small_changes_do_not_matter() -> None:
    index = Fuzzy(TEXTS)
    moved = "If my knee is swollen after a run, can I take ibuprofen together with my blood thinners?"
    assert index.find(TEXTS[0])[0] == 1
    assert 0.8 < index.find(moved)[0] < 1
    assert index.find("How long does a cold last?") == {}
    assert index.find("") == {}


def test_a_paragraph_is_found_inside_a_longer_text() -> None:
    around = "I am sixty and live alone.\n\n{}\n\nMy daughter told me to ask somebody who knows about such things."
    index = Fuzzy([around.format(TEXTS[1])])
    assert index.find(f"Good evening to you all, I hope that you are well.\n\n{TEXTS[1]}") == {0: 1.0}


def test_short_paragraphs_are_compared_only_as_parts_of_their_text() -> None:
    assert list(blocks("Hello.\n\nCan my son swim again?")) == [
        ["hello", "can", "my", "son", "swim", "again"],
        ["can", "my", "son", "swim", "again"],
    ]
    assert len(list(blocks("one paragraph of some words"))) == 1
