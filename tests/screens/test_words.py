import pytest

from muser.screens.words import words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fever of 39.5 °C — since  MONDAY!", "fever of 39 5 c since monday"),
        ("Ｆｅｖｅｒ, la fie\u0300vre", "fever la fièvre"),
        ("my_role: nurse", "my role nurse"),
        ("我头痛。ไข้", "我 头 痛 ไ ข ้"),
        ("मुझे बुखार है। عندي حُمّى", "मुझे बुखार है عندي حُمّى"),
        (" …", ""),
    ],
)
def test_words_do_not_depend_on_case_spaces_punctuation_and_width(text: str, expected: str) -> None:
    assert words(text) == expected.split()
