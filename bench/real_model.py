"""Runs `muser demo --real` and measures it; --write puts the numbers into docs/real-model.md.

    python bench/real_model.py [--folder DIR] [--write]

Memory is the sum over muser, its server and its training of each process's own share of RAM (PSS, proc(5)), read
every second. Rerun it after an interruption: the demo resumes, and the page then says how long the last command took.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from muser.store.file.database import Store
from muser.store.queries.tallies import tally_run, verdicts_of
from muser.store.records.artifacts import latest_artifact
from muser.store.records.ledger import usage_by_role

PAGE = Path(__file__).parents[1] / "docs" / "real-model.md"
NUMBERS = re.compile(r"(<!-- numbers -->\n).*?(<!-- end of numbers -->)", re.DOTALL)
RUNS = ("smollm2", "smollm2-training-eval-base", "smollm2-training-eval-distill")


def tree_of(process: int) -> Iterator[int]:
    """A process and all its descendants."""
    yield process
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from tree_of(int(child))


def pss_of(process: int) -> int:
    """A process's proportional share of RAM in bytes; 0 if it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def run_demo(folder: Path) -> dict[str, float]:
    """Runs the demo to its end; returns its seconds and the peak of its memory in GiB."""
    began, peak = time.monotonic(), 0
    demo = subprocess.Popen([sys.executable, "-m", "muser", "demo", "--real", "--folder", str(folder)])
    while demo.poll() is None:
        peak = max(peak, sum(pss_of(process) for process in tree_of(demo.pid)))
        time.sleep(1)
    if demo.returncode:
        sys.exit(demo.returncode)
    return {"minutes": round((time.monotonic() - began) / 60, 1), "peak_memory_gib": round(peak / 2**30, 2)}


def read_store(store: Store) -> dict[str, Any]:
    """What the finished demo's store says about its runs and its training."""
    runs = {}
    for run in RUNS:
        tally = tally_run(store, run)
        runs[run] = {
            "done": tally.done,
            "failed": tally.failed,
            "minutes": round(tally.seconds / 60, 1),
            "judged": tally.grades,
            "not_judged": tally.grades_failed,
            "roles": {one.role: one.model_dump(mode="json") for one in usage_by_role(store, run)},
        }
    model = latest_artifact(store, "model", "smollm2", "distill")
    keys = ("rows", "held_out", "held_out_loss_first", "held_out_loss_last", "steps", "seconds", "tokens")
    training = {key: model.meta.get(key) for key in (*keys, "peak_memory_mb")} if model else {}
    return {"runs": runs, "verdicts": verdicts_of(store, "smollm2"), "training": training}


def page(found: dict[str, Any]) -> str:
    """The measured part of docs/real-model.md."""
    training = found["training"]
    lines = [
        f"Measured on {time.strftime('%Y-%m-%d')} on {os.cpu_count()} CPU cores ({platform.machine()}):",
        f"{found['minutes']} minutes, peak memory {found['peak_memory_gib']} GiB.",
        "",
        "| step | samples done | failed | minutes | calls | unusable replies | rubric items judged | not judged |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for run, one in found["runs"].items():
        roles = one["roles"].values()
        calls = sum(role["calls"] for role in roles)
        unusable = sum(sum(role["outcomes"].values()) for role in roles)
        lines.append(
            f"| `{run}` | {one['done']} | {one['failed']} | {one['minutes']} | {calls:,} | {unusable:,} |"
            f" {one['judged'] or '–'} | {one['not_judged'] or '–'} |"
        )
    speed = training["tokens"] / training["seconds"]
    lines += [
        "",
        f"Training: {training['rows']} rows in {training['steps']} steps, {training['tokens']:,} tokens",
        f"at {speed:.0f} tokens/s,",
        f"peak memory {training['peak_memory_mb'] / 1024:.1f} GiB. Loss on {training['held_out']} held-out rows:",
        f"{training['held_out_loss_first']:.3f} before, {training['held_out_loss_last']:.3f} after.",
        "",
        "| role | calls | unusable replies | prompt tokens | cached | reply tokens |",
        "|---|--:|---|--:|--:|--:|",
    ]
    for role, one in found["runs"]["smollm2"]["roles"].items():
        unusable = ", ".join(f"{count} {outcome}" for outcome, count in one["outcomes"].items()) or "–"
        cached = f"{100 * one['tokens_cached'] / one['tokens_in']:.0f} %" if one["tokens_in"] else "–"
        lines.append(
            f"| {role} | {one['calls']} | {unusable} | {one['tokens_in']:,} | {cached} | {one['tokens_out']:,} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("demo-real"))
    parser.add_argument("--write", action="store_true", help="write the numbers into docs/real-model.md")
    given = parser.parse_args()
    measured = run_demo(given.folder)
    with Store.open(given.folder / "muser.db", create=False) as store:
        found = measured | read_store(store)
    print(json.dumps(found))
    if given.write:
        text = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(NUMBERS.sub(lambda match: match[1] + page(found) + match[2], text), encoding="utf-8")


if __name__ == "__main__":
    main()
