"""Whether two tables hold the same spots, and if not, which differ.

Equal up to rounding: what a method of somebody else computes on a window may differ
in its last digits from what it computes on the whole image.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

MEASURES = ("y", "x", "enhanced", "intensity", "snr", "area")


def places_of(table: pd.DataFrame) -> list[tuple[float, float]]:
    """Return (y, x) of each spot, to a hundredth of a pixel."""
    return list(zip(table["y"].round(2), table["x"].round(2), strict=True))


def are_alike(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Return whether two tables hold the same spots, in any order."""
    if len(one) != len(other):
        return False
    return one.empty or not _unlike_columns(one, other)


def _unlike_columns(one: pd.DataFrame, other: pd.DataFrame) -> list[str]:
    """Return the columns of equally many spots that differ by more than rounding."""
    order = [np.lexsort(np.array(places_of(table)).T[::-1]) for table in (one, other)]
    pairs = {n: (one[n].iloc[order[0]], other[n].iloc[order[1]]) for n in MEASURES}
    return [n for n, pair in pairs.items() if not np.allclose(*pair, 1e-5, 1e-3)]


def tell_apart(name: str, one: pd.DataFrame, other: pd.DataFrame) -> str:
    """Return in words which spots only one of two tables has; `name` is the first."""
    first, second = set(places_of(one)), set(places_of(other))
    words = [
        f"{len(rest)} spots only {where}, such as {min(rest)}"
        for where, rest in ((f"in {name}", first - second), ("else", second - first))
        if rest
    ]
    if not words and len(one) == len(other):
        words = [f"The columns {', '.join(_unlike_columns(one, other))} differ"]
    return "; ".join(words) or f"{len(one)} spots against {len(other)}"
