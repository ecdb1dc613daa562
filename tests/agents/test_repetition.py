"""Loops and echoes are found in real and in hostile texts, and in no ordinary one."""

import random
import time

import pytest

from muser.agents.repetition import (
    is_echo,
    is_loop,
    is_quotation,
    opens_with_instruction,
    weigh_letters,
)

INSTRUCTIONS = (
    "Write one message to the assistant as this person would. Keep to the facts that the case gives, and no more."
)
TABLE = "| medicine | dose | how often | with food |\n|---|---|---|---|\n" + "".join(
    f"| {name} | 5 mg | twice a day | yes |\n" for name in ("amlodipine", "enalapril", "metformin", "furosemide")
)


@pytest.mark.parametrize(
    "unit",
    [
        *("The customer says they have a headache.\n\n", "No. ", "ab", "=", "我们应该问。", "ปวดหัว", "हमें पूछना चाहिए। "),
        "We should ask when it began, how bad it is, what makes it better, and which medicines are taken for it. ",
        "({n}) The condition is not diabetes.\n",
    ],
)
def test_a_text_that_says_the_same_over_and_over_is_a_loop_in_any_script(unit: str) -> None:
    looped = "".join(unit.replace("{n}", str(n)) for n in range(2400 // len(unit)))
    opening = "Drink small sips of water, and measure the temperature again in the evening.\n\n"
    assert is_loop(opening + looped, cut=True)
    assert is_loop(opening + looped, cut=False)
    assert is_loop('{"rationale": "' + looped + '", "verdict": "pass"}', cut=False)


def test_a_long_reply_that_ends_in_a_loop_is_a_loop_only_if_it_was_cut_off() -> None:
    words = random.Random(3)
    sound = " ".join("".join(words.choices("aeioubcdfghklmnprst", k=6)) for _ in range(400))
    text = f"{sound} {'Call the clinic if it gets worse. ' * 20}"
    assert is_loop(text, cut=True)
    assert not is_loop(text, cut=False)


@pytest.mark.parametrize(
    "text",
    [
        *("", "Yes.", "No, no, no, no!", "ha ha ha ha ha ha ha ha", "Rest. Drink. Rest. Drink. Rest.", TABLE),
        "- Take the blue one in the morning.\n- Take the white one in the evening.\n- Take none of them at night.\n"
        * 2,
    ],
)
def test_a_list_a_table_and_a_habit_of_speech_are_no_loop(text: str) -> None:
    assert not is_loop(text, cut=True)
    assert not is_loop(text, cut=False)


@pytest.mark.parametrize("unit", ["a", "ab ", "a b ", '{"a":', " \n", "!", "中", "\ud800", "…"])
def test_the_time_grows_no_faster_than_the_text(unit: str) -> None:
    def seconds(length: int) -> float:
        began = time.process_time()
        is_loop(unit * (length // len(unit)), cut=True)
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
