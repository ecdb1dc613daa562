"""How the SQLite file is opened, written and laid out."""
