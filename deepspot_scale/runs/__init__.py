"""A run folder: what is done, what is left, and the work on it."""
