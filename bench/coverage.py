"""How many pairs of values a run of the shipped tables covers, and how many samples a top-up adds until all are.

    python bench/coverage.py [--samples N]

Drawing personas is all that this takes: no endpoint is asked, and every sample counts as accepted.
"""

import argparse
import time
from pathlib import Path

from muser.graph.inputs import simulated_inputs
from muser.prompts.attributes import load_attributes
from muser.prompts.joint import joint_of
from muser.prompts.sampling import machine_of
from muser.screens.coverage import Coverage, count_cells, measure_coverage
from muser.screens.top_up import plan_top_up


def told(coverage: Coverage) -> str:
    """How many cells are covered."""
    share = 100 * coverage.covered / max(coverage.cells, 1)
    return f"{coverage.covered:,} of {coverage.cells:,} pairs of values wanted 10 times or more ({share:.1f} %)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=20_000)
    samples = parser.parse_args().samples
    tables = load_attributes("attributes.yaml", Path())
    started = time.process_time()
    joint = joint_of(tables)
    known = time.process_time()
    personas = [one.persona or {} for one in simulated_inputs(samples, tables, seed=0)]
    drawn = time.process_time()
    cells = count_cells(joint, personas, samples)
    plan = list(plan_top_up(cells, machine_of(tables).contradicts))
    planned = time.process_time()
    print(f"covered by {samples:,} drawn personas: {told(measure_coverage(cells))}")
    after = measure_coverage(count_cells(joint, [*personas, *plan], samples))
    print(f"covered after a top-up of {len(plan):,}: {told(after)}")
    skew = max(
        abs(one.achieved / (samples + len(plan)) - one.wanted / samples) for a in after.attributes for one in a.values
    )
    print(f"largest change of a value's share: {100 * skew:.1f} percentage points")
    spent = (("expected shares", known - started), ("drawing", drawn - known), ("planning", planned - drawn))
    print("CPU: " + ", ".join(f"{what} {seconds:.1f} s" for what, seconds in spent))


if __name__ == "__main__":
    main()
