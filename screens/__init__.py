"""What is refused and why: duplicates, answers off their query, leaked benchmarks; how varied a run is. Trains nothing."""
