"""Values of checkpoints come back byte for byte, with any quoted text."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muser.store.file.database import Store
from muser.store.file.packing import Blob, long_texts, pack_state, pack_value, unpack_state, unpack_value
from muser.store.file.texts import put_text

KNOWN = ("We should ask since when it hurts. " * 8, "Rest and drink. " * 20 + "→ ärztlich", "ab" * 200)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | st.text(max_size=300) | st.sampled_from(KNOWN),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that has the known texts, but for the last of them."""
    with Store.open(tmp_path_factory.mktemp("packing") / "muser.db") as opened:
        opened.write_now(lambda db: [put_text(db, text) for text in KNOWN[:-1]])
        yield opened


@given(value=VALUES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_is_packed_comes_back(value: Any, store: Store) -> None:
    data = ormsgpack.packb(value)
    with store.reader() as db:
        stored, texts = pack_value(db, Blob(data, list(long_texts(value))))
        assert unpack_value(db, stored, texts) == data


def test_a_text_that_the_store_has_is_not_stored_again(store: Store) -> None:
    data = ormsgpack.packb({"answer": KNOWN[1], "plan": f"{KNOWN[0]} and so on {KNOWN[0]}"})
    with store.reader() as db:
        stored, texts = pack_value(db, Blob(data, list(KNOWN)))
        assert texts is not None
        assert len(stored) < 80
        assert unpack_value(db, stored, texts) == data


def test_texts_that_are_not_quoted_are_not_referred_to(store: Store) -> None:
    data = ormsgpack.packb({"answer": "short"})
    with store.reader() as db:
        assert pack_value(db, Blob(data, list(KNOWN))) == (b"-" + data, None)


@pytest.mark.parametrize("size", [0, 1, 400, 5000, 100_000])
def test_states_of_any_size_come_back(size: int, tmp_path: Path) -> None:
    state = (b"versions_seen persona " * 5000)[:size]
    assert unpack_state(pack_state(state)) == state
