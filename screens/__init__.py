"""What is refused and why: duplicates, answers off their query, leaked benchmarks; and how varied a run is."""
