"""One module a kind of record: runs, samples, calls, checkpoints, artifacts, workers."""
