"""Reads, grades and scores HealthBench and files in its format, and tests which differences are significant."""
