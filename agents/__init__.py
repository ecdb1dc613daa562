"""The roles: each a function from values to one prompt to one value.

Agents know neither LangGraph nor SQLite nor HTTP: they are handed an `Ask` and their prompts.
"""
