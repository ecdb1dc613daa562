import subprocess
import sys

import numpy as np
import pytest

from muser.screens.embeddings import LEAST, cosines, embed, meaning_sketch

HEADACHE = "I have had a bad headache for three days. Should I see a doctor?"


def likeness(left: str, right: str) -> float:
    return cosines(meaning_sketch(left).data, [meaning_sketch(right).data])[0]


def test_texts_that_mean_the_same_are_nearer_than_others() -> None:
    reworded = "For three days now I have a terrible headache, should I go to a doctor?"
    texts = [HEADACHE, reworded, "What dose of insulin does a newborn need?"]
    same, other = embed(texts)[1:] @ embed(texts)[0]
    assert same > 0.8
    assert other < 0.4
    assert np.linalg.norm(embed(texts), axis=1) == pytest.approx([1, 1, 1])


def test_the_order_of_words_does_not_matter_and_near_texts_share_a_bucket() -> None:
    moved = "Should I see a doctor? I have had a bad headache for three days."
    assert likeness(HEADACHE, moved) > LEAST
    assert set(meaning_sketch(HEADACHE).buckets) & set(meaning_sketch(moved).buckets)
    assert not set(meaning_sketch(HEADACHE).buckets) & set(meaning_sketch("Is my rash contagious?").buckets)


def test_the_stored_vector_keeps_the_cosine() -> None:
    texts = [HEADACHE, "My head hurts"]
    exact = float(embed(texts)[0] @ embed(texts)[1])
    assert likeness(*texts) == pytest.approx(exact, abs=0.01)


def test_a_text_without_words_is_near_no_other() -> None:
    assert meaning_sketch("").buckets == ()
    assert likeness("", "") == likeness("", HEADACHE) == 0
    assert embed(["\ud800"]).shape == (1, 256)


def test_loading_uses_neither_the_network_nor_the_package_itself() -> None:
    code = (
        "import socket, sys; socket.socket.connect = socket.getaddrinfo = None\n"
        "from muser.screens.embeddings import embed; print(embed(['fever']).shape, 'wordllama' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(1, 256) False"


def test_without_the_extra_the_message_names_the_command_that_installs_it() -> None:
    code = (
        "import sys; sys.modules['tokenizers'] = None\n"
        "from muser.core.errors import SettingsError\n"
        "try:\n    import muser.screens.embeddings\nexcept SettingsError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "embeddings need wordllama" in done.stdout
    assert "[data]" in done.stdout
