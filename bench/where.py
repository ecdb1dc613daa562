"""Where a run's CPU goes: how much of it is the graph's thread and the writer's, and each library's share of the first.

    python bench/where.py [--samples N]

Shares are cProfile's, which makes many small calls look dearer than they are; a builtin is counted where it was called.
"""

import argparse
import asyncio
import cProfile
import json
import os
import pstats
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from endpoint import fast_endpoint
from run import run_muser

from muser.store.file.writer import Writer

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = re.compile(r"python3\.\d+/(?:site-packages/)?(\w+)")
STORE = re.compile("sqlite3|zlib|hashlib|ormsgpack")


def owner(file: str, name: str) -> str:
    """Who a function belongs to: a library, or a folder of muser's."""
    if STORE.search(name):
        return "muser/store"
    path = Path(file).resolve()
    if path.is_relative_to(ROOT) and ".venv" not in path.parts:
        return f"muser/{path.relative_to(ROOT).parts[0]}"
    found = LIBRARY.search(file)
    return found[1] if found else "the rest"


def shares(profile: cProfile.Profile) -> dict[str, float]:
    """Owner → per cent of the time in its own functions, the largest first."""
    spent: Counter[str] = Counter()
    rows: Any = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    for (file, _, name), (_, _, own, _, callers) in rows.items():
        if "epoll" in name:
            continue  # nothing to do
        whole = sum(caller[2] for caller in callers.values())
        if file == "~" and whole and not STORE.search(name):
            for (caller, _, function), (_, _, part, _) in callers.items():
                spent[owner(caller, function)] += own * part / whole
        else:
            spent[owner(file, name)] += own
    return {name: round(100 * seconds / spent.total(), 1) for name, seconds in spent.most_common(14)}


def threads() -> dict[str, float]:
    """Thread id → seconds of CPU."""
    ticks = os.sysconf("SC_CLK_TCK")
    used = {}
    for task in Path("/proc/self/task").iterdir():
        user, system = (task / "stat").read_text().rpartition(")")[2].split()[11:13]
        used[task.name] = (int(user) + int(system)) / ticks
    return used


@contextmanager
def watched(found: list[float]) -> Iterator[None]:
    """Notes what the two busiest threads have used once the store's writer is about to end, in seconds of CPU."""
    before, close = threads(), Writer.close

    def noting(self: Writer) -> None:
        found.extend(sorted((used - before.get(name, 0) for name, used in threads().items()), reverse=True)[:2])
        close(self)

    Writer.close = noting  # type: ignore[method-assign]
    try:
        yield
    finally:
        Writer.close = close  # type: ignore[method-assign]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=512)
    samples = parser.parse_args().samples
    used: list[float] = []
    with tempfile.TemporaryDirectory() as folder, fast_endpoint() as url:
        asyncio.run(run_muser(url, Path(folder) / "warm.db", 4, 4))
        with watched(used):
            asyncio.run(run_muser(url, Path(folder) / "plain.db", samples, 64))
        profile = cProfile.Profile()
        profile.runcall(asyncio.run, run_muser(url, Path(folder) / "profiled.db", samples, 64))
    graph, writer = (1000 * seconds / samples for seconds in used)
    print(json.dumps({"graph_ms": round(graph, 1), "writer_ms": round(writer, 1), "shares": shares(profile)}, indent=2))


if __name__ == "__main__":
    main()
