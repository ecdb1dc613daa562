"""What a terminal shows: summaries, progress, traces, lists. Imports no command."""
