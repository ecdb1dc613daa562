"""HealthBench and files of its format: reading, grading, scores, and what may be concluded from them."""
