import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from muser.core.files import open_private


@pytest.fixture(autouse=True)
def generous_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_new_file_is_its_owners_alone_whatever_the_umask_allows(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with open_private(path, "w") as file:
        file.write("é")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == "é".encode()


def test_a_file_that_exists_keeps_the_permissions_that_its_owner_gave_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(0o640)
    open_private(path, "ab").close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
