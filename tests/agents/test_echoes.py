"""Echoes are found in real and in hostile texts, and in no ordinary one."""

import time

import pytest

from muser.agents.echoes import is_echo, is_quotation, opens_with_instruction, weigh_letters

INSTRUCTIONS = (
    "Write one message to the assistant as this person would. Keep to the facts that the case gives, and no more."
)


@pytest.mark.parametrize("unit", ["a", "ab ", "a b ", '{"a":', " \n", "!", "中", "\ud800", "…"])
def test_the_time_grows_no_faster_than_the_text(unit: str) -> None:
    def seconds(length: int) -> float:
        began = time.process_time()
        is_echo(unit * (length // len(unit)), INSTRUCTIONS)
        opens_with_instruction(unit * (length // len(unit)), INSTRUCTIONS)
        return time.process_time() - began

    # Sixteen times the text; what is quadratic takes 256 times as long.
    assert min(seconds(80_000), seconds(80_000)) < 64 * max(seconds(5_000), 0.001)


def test_an_echo_is_mostly_the_instructions_words_whatever_their_punctuation() -> None:
    assert is_echo("Write one message to the assistant as this person would!", INSTRUCTIONS)
    assert is_echo("**keep to the facts, that the case gives, and no more** please", INSTRUCTIONS)
    assert not is_echo(
        "I have kept to the facts that the doctor gave me, and my chest still hurts at night.", INSTRUCTIONS
    )
    assert not is_echo("Message to the assistant", INSTRUCTIONS)
    assert not is_echo("", INSTRUCTIONS)
    assert not is_echo("Write one message to the assistant as this person would!", "")


def test_a_few_words_are_a_quotation_only_as_they_stand_in_the_instructions() -> None:
    assert is_quotation("Keep to the facts …", INSTRUCTIONS)
    assert not is_quotation("Keep the facts", INSTRUCTIONS)
    assert not is_quotation("Keep to the facts that the case gives", INSTRUCTIONS)


def test_a_label_that_is_an_instructions_first_word_is_an_echo() -> None:
    assert opens_with_instruction("Write: I am a patient and I am worried.", INSTRUCTIONS)
    assert opens_with_instruction("**Write:** I am a patient.", INSTRUCTIONS)
    for text in ("Patient: 45 M, chest pain", "Question: may I take both?", "I write: help", "Facts: none", "write it"):
        assert not opens_with_instruction(text, INSTRUCTIONS)


def test_a_letter_weighs_as_much_as_it_says() -> None:
    assert weigh_letters("We should …") == 8
    # "ask since when" in Chinese, Hindi, Arabic, Hebrew, Russian, Turkish and Korean
    for text in ("问何时起", "पूछें कब से", "اسأل منذ متى", "לשאול ממתי", "спросить когда", "Ne zamandır?", "언제부터?"):
        assert weigh_letters(text) >= 8, text
