"""Servers that muser starts: command lines, watchdog, key check, diagnosis of failed starts."""
