"""Filters for samples: duplicates, answers that ignore their query, leaked benchmarks; and how diverse a run is."""
