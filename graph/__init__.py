"""The LangGraph state machine, the runner of many samples, and replay. Knows no SQL and no HTTP."""

import os

# langgraph/checkpoint/serde/_msgpack.py reads this once, at import. Without it, loading a checkpoint imports and builds
# any class that the checkpoint names.
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")
