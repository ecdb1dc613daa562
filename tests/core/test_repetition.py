"""Loops are found in real and in hostile texts, in any script, and in no ordinary one."""

import random
import time

import pytest

from muser.core.repetition import READ, find_loop, is_loop

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
        find_loop(unit * (length // len(unit)))
        return time.process_time() - began

    # Sixteen times the text; what is quadratic takes 256 times as long.
    assert min(seconds(80_000), seconds(80_000)) < 64 * max(seconds(5_000), 0.001)


def test_a_loop_starts_where_the_repeated_passage_is_written_again() -> None:
    unit, twice = "Call the clinic if it gets any worse. ", "Take the blue one in the morning. "
    text = twice * 2 + unit * 12
    place = find_loop(text)
    assert place == len(twice * 2 + unit)
    assert find_loop(twice * 2) is None
    assert find_loop(" " * READ + text) == READ + place
