"""What the parts of a recipe share: the class they are made of, names, seeds and addresses."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

Name = str
"""A name in a recipe: letters, digits, `-` and `_`, starting with a letter (also a graph node and a column value)."""

NAME = r"^[A-Za-z][A-Za-z0-9_-]*$"

Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
"""Up to the largest seed that NumPy and PyTorch accept."""


class Settings(BaseModel):
    """A part of a recipe: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def check_address(url: str) -> None:
    """Raises ValueError unless this is an HTTP address without credentials."""
    if not url.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    try:
        parts = urlsplit(url)
        # Reading the port is what checks it.
        is_complete = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_complete = False
    if not is_complete:
        # The message does not repeat the address, which may contain a password.
        raise ValueError("must be http://HOST:PORT/… with a port from 1 to 65535")
    if "@" in url.partition("//")[2].partition("/")[0]:
        raise ValueError("must not contain a user name or a password; see api_key_env")
