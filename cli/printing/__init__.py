"""What a terminal shows: summaries, progress, traces, lists. Knows no command."""
