"""A run's CPU time: of the graph's thread, of the writer's thread, and each library's share of the former.

    python bench/where.py [--samples N]

Shares are from cProfile, which overstates the cost of many small calls. The time of a builtin counts for its caller.
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
    """The library, or the folder of muser, that a function belongs to."""
    if STORE.search(name):
        return "muser/store"
    path = Path(file).resolve()
    if path.is_relative_to(ROOT) and ".venv" not in path.parts:
        return f"muser/{path.relative_to(ROOT).parts[0]}"
    found = LIBRARY.search(file)
    return found[1] if found else "the rest"


def shares(profile: cProfile.Profile) -> dict[str, float]:
    """Owner → per cent of the time in its own functions, largest first."""
    spent: Counter[str] = Counter()
    rows: Any = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    for (file, _, name), (_, _, own, _, callers) in rows.items():
        if "epoll" in name:
            continue  # The loop waits for the endpoint here, which costs no CPU time.
        total = sum(caller[2] for caller in callers.values())
        if file == "~" and total and not STORE.search(name):
            for (caller, _, function), (_, _, part, _) in callers.items():
                spent[owner(caller, function)] += own * part / total
        else:
            spent[owner(file, name)] += own
    return {name: round(100 * seconds / spent.total(), 1) for name, seconds in spent.most_common(14)}


def threads() -> dict[str, float]:
    """Thread id → CPU seconds."""
    ticks = os.sysconf("SC_CLK_TCK")
    used = {}
    for task in Path("/proc/self/task").iterdir():
        try:
            stat = (task / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # The thread has exited since it was listed.
        # Fields 14 and 15 of proc(5). The name before them, in parentheses, may contain spaces.
        user, system = stat.rpartition(")")[2].split()[11:13]
        used[task.name] = (int(user) + int(system)) / ticks
    return used


@contextmanager
def watched(found: list[float]) -> Iterator[None]:
    """Appends the CPU seconds of the two busiest threads, read before the writer's thread exits and leaves /proc."""
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
