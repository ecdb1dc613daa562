"""What commands load first: a recipe with its overrides, an existing store, a run by name."""

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
    """The recipe with a command's overrides applied, and the command-line words that repeat them."""
    from json import dumps

    from ..core.loading import load_recipe

    # Overrides are parsed as YAML: in quotes, a path such as `1.0` stays a string.
    own = [f"store={dumps(store)}"] if store else []
    words = [word for each in change or [] for word in ("--set", each)] + (["--store", store] if store else [])
    return load_recipe(recipe, [*(change or []), *own], needs=needs), words


def named_run(store: "Store", name: str) -> "Run":
    """The run with this id. Raises InputError that lists the existing runs."""
    from ..core.errors import InputError
    from ..store.records.runs import find_run, list_runs

    found = find_run(store, name)
    if found is None:
        there = [line.id for line in list_runs(store)]
        shown = ", ".join(there[:10]) + (f" and {len(there) - 10} more" if len(there) > 10 else "")
        raise InputError(f"there is no run {name}", where=str(store.path), todo=f"available: {shown}" if there else "")
    return found


@contextmanager
def existing_store(recipe: "Recipe") -> "Iterator[Store]":
    """The recipe's store or, if there is none, an empty temporary one: only a run creates a database.

    Without a store there is no trained stage to find either.
    """
    import tempfile
    from pathlib import Path

    from ..store.file.connections import is_begun
    from ..store.file.database import Store

    with tempfile.TemporaryDirectory(prefix="muser-") as folder:
        there = is_begun(Path(recipe.store))
        with Store.open(recipe.store if there else Path(folder) / "none.db") as store:
            yield store
