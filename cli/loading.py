"""What commands begin with: a recipe under their changes, a store that is there, a run by its name."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ..core.recipe import Recipe
    from ..store.file.database import Store
    from ..store.records.runs import Run


def load_with(
    recipe: str, change: list[str] | None, store: str | None, needs: "Sequence[Literal['training', 'evaluation']]" = ()
) -> "tuple[Recipe, list[str]]":
    """The recipe under a command's changes, and the words that repeat them in a command."""
    from json import dumps

    from ..core.loading import load_recipe

    # A change is read as YAML: in quotes, a path of whatever letters stays a path.
    own = [f"store={dumps(store)}"] if store else []
    words = [word for each in change or [] for word in ("--set", each)] + (["--store", store] if store else [])
    return load_recipe(recipe, [*(change or []), *own], needs=needs), words


def named_run(store: "Store", name: str) -> "Run":
    """The run with this id. Raises InputError, naming those that exist."""
    from ..core.errors import InputError
    from ..store.records.runs import find_run, list_runs

    found = find_run(store, name)
    if found is None:
        there = [line.id for line in list_runs(store)]
        shown = ", ".join(there[:10]) + (f" and {len(there) - 10} more" if len(there) > 10 else "")
        raise InputError(f"there is no run {name}", where=str(store.path), todo=f"there are: {shown}" if there else "")
    return found


@contextmanager
def existing_store(recipe: "Recipe") -> "Iterator[Store]":
    """The recipe's store, or an empty one that is gone afterwards: only running makes a database.

    Where there is none yet, no trained stage can be in it either.
    """
    import tempfile
    from pathlib import Path

    from ..store.file.connections import is_begun
    from ..store.file.database import Store

    with tempfile.TemporaryDirectory(prefix="muser-") as folder:
        there = is_begun(Path(recipe.store))
        with Store.open(recipe.store if there else Path(folder) / "none.db") as store:
            yield store
