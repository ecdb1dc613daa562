"""SQLite: runs, samples, calls, texts, artifacts, export and LangGraph's checkpoints, in one file a project."""
