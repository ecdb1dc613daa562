"""Checks before a run: the probe, a trial run and a cost estimate."""
