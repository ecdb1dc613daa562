"""Stored answers → rows → a fine-tuned student: two stages of supervised training with TRL (paper, section 3.3)."""
