"""What is refused and why: duplicates, answers off their query, benchmark leakage; and how varied a run is. Trains nothing."""
