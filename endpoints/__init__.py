"""Chat models behind one protocol, servers started and stopped, and the simulated endpoint. Knows HTTP, no roles."""

import os

# LangSmith reads these when LangChain is first imported; prompts must not leave the machine because another
# project's shell asked for tracing.
os.environ.update(
    dict.fromkeys(("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING", "LANGCHAIN_TRACING_V2"), "false")
)
