"""Which attributes the personas of a store have: those of the users' own tables and query files."""

from collections.abc import Collection, Iterator

from ..file.database import Store


class Attributes(Collection[str]):
    """The names of the attributes in a run, or in all runs, in the order in which samples bring them."""

    def __init__(self, store: Store, run_id: str | None = None) -> None:
        self.store, self.run = store, {"run": run_id}

    def __contains__(self, name: object) -> bool:
        return bool(self.store.read(HAS, self.run | {"name": str(name)}))

    def __iter__(self) -> Iterator[str]:
        return (row["name"] for row in self.store.read(LIST, self.run))

    def __len__(self) -> int:
        return len(list(iter(self)))


HAS = """
    SELECT 1 AS found FROM attribute_values WHERE name = :name AND (:run IS NULL OR run_id = :run) LIMIT 1"""

LIST = """
    SELECT name FROM attribute_values WHERE :run IS NULL OR run_id = :run GROUP BY name ORDER BY min(id)"""
