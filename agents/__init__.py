"""The roles: each a function from values to one prompt to one value.

Agents know nothing of LangGraph, SQLite or HTTP: they get an `Ask` and their prompts.
"""
