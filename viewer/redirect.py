"""A file that redirects a browser to the viewer, so that the token is not in the process list, which all users see."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from html import escape
from pathlib import Path
from tempfile import mkstemp

PAGE = """<!doctype html>
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url={address}">
<title>muser</title>
<a href="{address}">muser view</a>
"""


@contextmanager
def redirect_file(address: str) -> Iterator[str]:
    """The file: address of a page that redirects to `address`; only this user can read it, until the block ends."""
    handle, name = mkstemp(prefix="muser-view-", suffix=".html")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(PAGE.format(address=escape(address)))
        yield Path(name).as_uri()
    finally:
        with suppress(OSError):
            Path(name).unlink()
