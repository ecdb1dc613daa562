import json
from pathlib import Path

import pytest

from muser.core.errors import InputError
from muser.screens.decontamination import Benchmark, decontaminated
from muser.screens.matches import Suspect, match_hash, read_allowed
from muser.screens.references import Reference

PROMPT = (
    "I have had a stabbing pain behind my left eye since Tuesday and light makes it worse. Could this be a migraine?"
)
CRITERION = "Advises the user to seek emergency care if the pain comes with loss of vision"
COMPLETION = "This could be a migraine.\n\nPain behind one eye with loss of vision needs an eye doctor on the same day."
REFERENCES = [
    Reference(kind="prompt", where="b.jsonl:1", text=PROMPT),
    Reference(kind="criterion", where="b.jsonl:1", text=CRITERION),
    Reference(kind="completion", where="b.jsonl:1", text=COMPLETION),
    Reference(kind="prompt", where="b.jsonl:2", text="what is gout"),
    Reference(kind="prompt", where="b.jsonl:3", text="у меня болит голова второй день, что мне делать"),
]
REWORDED = "Light makes it worse. Since Tuesday, I had a stabbing ache behind my left eye. Might this be a migraine?"


@pytest.fixture(scope="module")
def benchmark() -> Benchmark:
    return Benchmark(REFERENCES)


@pytest.mark.parametrize(
    ("text", "number", "nets"),
    [
        (PROMPT, 0, {"ngrams", "fuzzy", "embeddings"}),
        (f"Hello doctor. {PROMPT} Thanks a lot in advance for everything you do for people like me!", 0, {"ngrams"}),
        ("I have had a stabbing pain behind my left eye since Tuesday", 0, {"ngrams"}),
        (REWORDED, 0, {"fuzzy", "embeddings"}),
        (f"Here is my plan.\n\n{CRITERION}.", 1, {"ngrams", "fuzzy"}),
        ("First rest.\n\nPain behind one eye with loss of vision: see an eye doctor the same day.", 2, {"fuzzy"}),
        ("What is gout?", 3, {"ngrams", "fuzzy"}),
    ],
)
def test_each_kind_of_copy_is_found_by_the_net_for_it(
    benchmark: Benchmark, text: str, number: int, nets: set[str]
) -> None:
    assert nets <= benchmark.find(text).get(number, {}).keys()


@pytest.mark.parametrize(
    "text",
    [
        "My son has an itchy rash on both elbows. Which cream may I use?",
        "I have gout and my toe is swollen. What is the best diet for me?",
        "I have had a dry cough since Tuesday and cold air makes it worse. Could this be asthma?",
        "моя дочь не спит по ночам и часто просыпается от кашля",
        "thank you",
        "",
    ],
)
def test_other_texts_on_medicine_are_not_copies(benchmark: Benchmark, text: str) -> None:
    assert benchmark.find(text) == {}


def test_matches_carry_both_texts_and_are_left_out_once_their_hash_is_allowed(
    benchmark: Benchmark, tmp_path: Path
) -> None:
    file = tmp_path / "b.jsonl"
    file.write_text("{}\n")
    suspects = [
        Suspect(where="demo/s1", part="query", text=PROMPT.upper()),
        Suspect(where="demo/s1", part="answer", text="Rest in a dark room."),
        Suspect(where="demo/s2", part="query", text="What is gout?"),
    ]
    found = benchmark.compare("demo", [file], suspects)
    assert [(one.where, one.part, one.reference.where) for one in found.matches] == [
        ("demo/s1", "query", "b.jsonl:1"),
        ("demo/s2", "query", "b.jsonl:2"),
    ]
    assert (found.compared, found.references, found.nets["ngrams"], found.allowed) == (3, 5, 2, 0)
    allowed = tmp_path / "allowed.txt"
    allowed.write_text(f"# reviewed\n{found.matches[1].hash}  # everybody asks this\n")
    again = benchmark.compare("demo", [file], suspects, read_allowed(allowed))
    assert (len(again.matches), again.allowed, again.nets["ngrams"]) == (1, 1, 1)


def test_the_hash_of_a_match_does_not_depend_on_case_and_spaces() -> None:
    assert match_hash("What is  gout?", "WHAT IS GOUT") == match_hash("what is gout", "what is gout")
    assert match_hash("a b c", "d e f") != match_hash("d e f", "a b c")


def test_a_file_of_hashes_with_anything_else_in_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "allowed.txt"
    path.write_text("0123456789abcdef\nwhat is gout\n")
    with pytest.raises(InputError, match="what is gout") as caught:
        read_allowed(path)
    assert caught.value.where == f"{path}:2"


def test_as_a_screen_it_says_which_text_is_copied(tmp_path: Path) -> None:
    file = tmp_path / "b.jsonl"
    file.write_text(json.dumps({"prompt": PROMPT}) + "\n")
    copied = decontaminated([file])
    assert copied(PROMPT) == f"copies a prompt of {file}:1 (ngrams 1.00, fuzzy 1.00, embeddings 1.00)"
    assert copied("My son has an itchy rash on both elbows. Which cream may I use?") is None
