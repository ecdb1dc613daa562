"""Word diffs."""

from muser.core.difference import word_diff


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


def test_what_is_taken_from_the_end_stands_apart_from_what_stays() -> None:
    assert words("Do rest well. Then call.", "Do rest well.").strip() == "Do rest well. [-Then call.-]"
