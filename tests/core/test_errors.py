"""The failures: the tree in the docstring is the tree of classes."""

import re

from muser.core import errors
from muser.core.errors import MuserError, PromptError


def test_the_drawn_tree_is_the_tree_of_classes() -> None:
    path: list[str] = []
    drawn = {}
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^    ([│├└─ ]*)(\w+)", line)
        if found:
            path[len(found[1]) // 4 :] = [found[2]]
            drawn[found[2]] = path[-2] if path[1:] else "Exception"
    classes = {name: c for name, c in vars(errors).items() if isinstance(c, type) and issubclass(c, MuserError)}
    assert drawn == {name: c.__bases__[0].__name__ for name, c in classes.items()}


def test_an_error_says_what_where_and_what_to_do() -> None:
    assert str(PromptError("broken", where="f:1", todo="mend it")) == "broken\n  where: f:1\n  try:   mend it"
    assert str(PromptError("broken")) == "broken"
