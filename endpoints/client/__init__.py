"""Sends requests and reads replies: chat models, transport, keys, failures, metrics."""
