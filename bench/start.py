"""Start-up time: `muser run` with one sample from the shell, beside the naive graph.

    python bench/start.py [--times N]

Each line is the fastest of N processes, against bench/endpoint.py at 0 ms. One more process runs first and is not
counted, because Python compiles the modules in it. In the last line the sample is already done.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from endpoint import fast_endpoint

RECIPE = """
name: start
samples: 1
models: {{fast: {{model: fast, base_url: {url}}}}}
critics:
  decision: {{prompt: decision.md}}
  communication: {{prompt: communication.md}}
  safety: {{prompt: safety.md}}
"""
NAIVE = "import asyncio, pathlib, sys; from naive import run; asyncio.run(run(sys.argv[1], pathlib.Path('n.db'), 1, 1))"


def best(command: list[str], folder: Path, times: int, *, fresh: bool = True) -> dict[str, float]:
    """Wall and CPU seconds of the fastest process. `fresh` deletes the store before each."""
    took = []
    for _ in range(times + 1):
        if fresh:
            for file in folder.glob("*.db*"):
                file.unlink()
        before, began = os.times(), time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        wall, after = time.perf_counter() - began, os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        took.append((round(wall, 2), round(cpu, 2)))
    return {"wall_s": min(wall for wall, _ in took[1:]), "cpu_s": min(cpu for _, cpu in took[1:])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3)
    times = parser.parse_args().times
    # A user's Python caches bytecode, so the benchmark's must do so too, in a folder that starts empty.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as name, fast_endpoint() as url:
        folder = Path(name)
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
        (folder / "start.yaml").write_text(RECIPE.format(url=url), encoding="utf-8")
        muser = [sys.executable, "-m", "muser", "run", "start.yaml"]
        for what, command, fresh in (
            ("python alone", [sys.executable, "-c", ""], True),
            ("naive, one sample", [sys.executable, "-c", NAIVE, url], True),
            ("muser run, one sample", muser, True),
            ("muser run, sample already done", muser, False),
        ):
            print(json.dumps({"what": what} | best(command, folder, times, fresh=fresh)), flush=True)


if __name__ == "__main__":
    main()
