"""A run folder: what is done, what is left, and doing it."""
