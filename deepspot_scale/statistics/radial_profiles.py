"""How far out the spots of a condition lie: rings of cells in, cumulative shares out.

    share(r) = spots of a cell up to r of the way from nucleus to edge / all of them
    null(r)  = the same of the cell's cytoplasm pixels: spots that are spread evenly

Each cell is one share, cells make the mean of their well, and wells the mean of their
condition, whose interval is over wells. Nothing here draws or reads files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.statistics.groups import WELL, by_occasion, group_keys, iter_groups
from deepspot_scale.vocabulary import N_RINGS, OCCASION

KEYS: Final = group_keys(["channel", "condition", "gene"])
PIXELS: Final = [f"pixels_{ring}" for ring in range(N_RINGS)]
SPOTS: Final = [f"spots_{ring}" for ring in range(N_RINGS)]
_WELLS: Final = [*WELL, "channel", *OCCASION]


def sum_profiles(radial: pd.DataFrame, min_spots: int) -> pd.DataFrame:
    """Return the sums of cells' cumulative shares by well and occasion.

    Parameters
    ----------
    radial
        Rows of `vocabulary.RADIAL`.
    min_spots
        Cytoplasm spots that a cell needs to count.

    Returns
    -------
    DataFrame
        Well, channel, occasion, n_cells (that count), n_few (that do not), and the
        columns `SPOTS` and `PIXELS`: sums over cells of the shares up to each ring.
    """
    own = by_occasion(radial)
    counts = own[SPOTS].to_numpy(np.float64)
    used = counts.sum(axis=1) >= max(min_spots, 1)
    table = own[_WELLS].copy()
    for names in (SPOTS, PIXELS):
        up_to = np.cumsum(own[names].to_numpy(np.float64), axis=1)
        shares = np.divide(
            up_to, up_to[:, -1:], out=np.zeros_like(up_to), where=used[:, None]
        )
        table[names] = shares
    table = table.assign(n_cells=used.astype(int), n_few=(~used).astype(int))
    return table.groupby(_WELLS, as_index=False, sort=False).sum()


def add_profiles(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the sum of several answers of `sum_profiles`."""
    whole = pd.concat(tables, ignore_index=True)
    return whole.groupby(_WELLS, as_index=False, sort=False).sum()


def mean_profiles(sums: pd.DataFrame, plate_map: pd.DataFrame) -> pd.DataFrame:
    """Return each condition's profile.

    Parameters
    ----------
    sums
        Of `sum_profiles`.
    plate_map
        As in `groups.with_plate_map`.

    Returns
    -------
    DataFrame
        `KEYS`, way (from the nucleus, 0, to the edge, 1), share, low and high
        (Student's 95 % interval over wells, within 0 to 1; NaN: one well), null,
        n_cells and n_wells; a line for each ring's outer end, and one of 0.
    """
    tables = []
    for group in iter_groups(sums[sums["n_cells"] > 0], plate_map, KEYS):
        wells = group.cells
        n = wells[["n_cells"]].to_numpy(np.float64)
        share, null = (wells[names].to_numpy() / n for names in (SPOTS, PIXELS))
        low, high = _interval(share)
        ends = {"share": share.mean(axis=0), "low": low, "high": high}
        ends["null"] = null.mean(axis=0)
        # At the border of the nucleus there is nothing yet; unknown stays unknown.
        line = {
            name: np.append(values[:1] * 0, values) for name, values in ends.items()
        }
        line["way"] = np.linspace(0, 1, N_RINGS + 1)
        counted = {"n_cells": int(n.sum()), "n_wells": len(wells)}
        tables.append(pd.DataFrame(line).assign(**group.names, **counted))
    columns = [*KEYS, "way", "share", "low", "high", "null", "n_cells", "n_wells"]
    if not tables:
        return pd.DataFrame(columns=columns)
    return pd.concat(tables, ignore_index=True)[columns]


def _interval(shares: NDArray[Any]) -> NDArray[np.float64]:
    from scipy.stats import t

    n = len(shares)
    if n < 2:
        return np.full((2, shares.shape[1]), np.nan)
    mean = shares.mean(axis=0)
    half = t.ppf(0.975, n - 1) * shares.std(axis=0, ddof=1) / np.sqrt(n)
    return np.asarray(np.clip([mean - half, mean + half], 0, 1))
