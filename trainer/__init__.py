"""Turns stored answers into rows and fine-tunes a student on them with TRL, in two stages (paper, section 3.3)."""
