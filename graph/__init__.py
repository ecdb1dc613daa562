"""The LangGraph state machine, the runner of many samples, and replay. Knows no SQL and no HTTP."""

import os

# Read once, when langgraph is first imported: without it any class named in a checkpoint is imported and built on load.
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")
