"""What is tried and estimated before a run: the probe, the trial run, cost."""
