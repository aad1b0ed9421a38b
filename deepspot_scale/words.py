"""Counts in sentences: a number and a word in, their text out.

Nothing here knows what is counted.
"""

from __future__ import annotations


def plural(n: int, word: str) -> str:
    """Write a count and its word: 1 field, 2 fields."""
    return f"{n:,} {word}{'' if n == 1 else 's'}"
