"""Care for the file: health, space, consistency."""
