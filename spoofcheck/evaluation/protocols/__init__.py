"""Readers of the field's label files: each gives `Clip`s, and an error with a line number for what it can't read."""
