"""How many spots cells have: cells come in, their distribution goes out.

Spots are whole numbers, so the number of cells at each count holds everything that the
cells say, in little room. Nothing here draws or reads files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from deepspot_scale.statistics.groups import WELL, by_occasion
from deepspot_scale.vocabulary import OCCASION

SHARES: Final = {"low": 0.05, "quarter": 0.25, "median": 0.5, "three_quarters": 0.75}
SHARES["high"] = 0.95
"""Columns of `spread`, and the share of cells that have at most so many spots."""
_KEYS: Final = [*WELL, "channel", *OCCASION]


def count_cells(cells: pd.DataFrame) -> pd.DataFrame:
    """Return how many cells of each well and occasion have how many spots.

    Cells have the columns row, column, channel, an occasion and n_spots; the answer has
    these and n_cells, a line for each count that occurs.
    """
    own = by_occasion(cells)[[*_KEYS, "n_spots"]]
    # In the order of the keys, which value_counts keeps only below pandas 3.
    sizes = own.groupby([*_KEYS, "n_spots"], as_index=False).size()
    return sizes.rename(columns={"size": "n_cells"})


def add_counts(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the sum of several answers of `count_cells`."""
    whole = pd.concat(tables, ignore_index=True)
    keys = [*_KEYS, "n_spots"]
    return whole.groupby(keys, as_index=False)[["n_cells"]].sum()


def spread(counts: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return a line for each group of `keys`: n_cells, mean, and `SHARES`.

    A column of `SHARES` is the least count that at least this share of cells does not
    exceed, so it is a count that occurs. `least` and `most` are the ends.
    """
    rows = []
    for key, group in counts.groupby(list(keys), sort=False):
        sums = group.groupby("n_spots")["n_cells"].sum()
        n_spots, n_cells = (np.asarray(x, np.int64) for x in (sums.index, sums))
        up_to, n = np.cumsum(n_cells), int(n_cells.sum())
        at = {
            name: int(n_spots[np.searchsorted(up_to, share * n)])
            for name, share in SHARES.items()
        }
        ends = {"least": int(n_spots[0]), "most": int(n_spots[-1])}
        mean = float(n_spots @ n_cells) / n
        names = dict(zip(keys, key, strict=True))
        rows.append({**names, "n_cells": n, "mean": mean, **at, **ends})
    columns = [*keys, "n_cells", "mean", *SHARES, "least", "most"]
    return pd.DataFrame(rows, columns=columns)
