"""The report of a pipeline: its numbers, and the pages that show them."""
