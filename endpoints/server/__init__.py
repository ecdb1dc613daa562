"""Servers that muser starts: their command lines, the watchdog, the key check, what a failed start means."""
