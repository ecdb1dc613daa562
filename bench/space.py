"""Disk space of a finished sample with its ledger and steps, beside LangGraph's SQLite saver, which stores no calls.

    python bench/space.py [--samples N]

Every reply is a new text, about 10 KB per sample, because shared texts would make the store look smaller than it is.
Sizes are measured after closing the file, when SQLite has moved the write-ahead log into it.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from endpoint import fast_endpoint
from naive import run as run_naive

from muser.core.recipe import Recipe
from muser.graph.run import run_recipe
from muser.store.file.database import Store
from muser.store.maintenance.space import vacuum
from muser.store.records.history import prune

CRITICS = ("decision", "communication", "safety")


def kib(path: Path, samples: int) -> float:
    """KiB per sample of a store's files."""
    return round(sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*")) / samples / 1024, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=500)
    samples = parser.parse_args().samples
    with tempfile.TemporaryDirectory() as folder, fast_endpoint(distinct=True) as url:
        path, other = Path(folder) / "muser.db", Path(folder) / "naive.db"
        recipe = Recipe(
            name="space",
            samples=samples,
            models={"fast": {"model": "fast", "base_url": url}},
            critics={name: {"prompt": f"{name}.md"} for name in CRITICS},
        )
        with Store.open(path) as store:
            assert asyncio.run(run_recipe(recipe, store)).done == samples
        sizes = {"muser": kib(path, samples)}
        with Store.open(path) as store:
            text = store.read("SELECT sum(length(body)) AS n FROM texts")[0]["n"]
            prune(store)
            vacuum(store)
        sizes["muser, pruned"] = kib(path, samples)
        asyncio.run(run_naive(url, other, samples, 32))
        sizes["stock saver, no calls"] = kib(other, samples)
    print(json.dumps({"samples": samples, "kib_of_text": round(text / samples / 1024, 1), "kib_per_sample": sizes}))


if __name__ == "__main__":
    main()
