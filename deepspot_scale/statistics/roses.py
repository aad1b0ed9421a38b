"""Roses: where about the nucleus the spots of a condition lie; cells in, petals out.

A petal's length is the number of spots in it over that of uniform spots, so a circle of
radius 1 means "no direction". Nothing here draws or reads files.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.kernels.sectors import sector_sums
from deepspot_scale.statistics.compact_bins import n_petals
from deepspot_scale.statistics.groups import group_keys, iter_groups
from deepspot_scale.statistics.polarity_tests import usable_cells
from deepspot_scale.statistics.sector_index import CellBins, SectorIndex, stream
from deepspot_scale.tables import as_table, empty_table
from deepspot_scale.vocabulary import ROSES

KEYS: Final = group_keys(["channel", "condition", "gene"])


def measure_roses(
    cells: pd.DataFrame, plate_map: pd.DataFrame, index: SectorIndex
) -> pd.DataFrame:
    """Return `vocabulary.ROSES`: where about the nucleus each condition's spots lie.

    Parameters are as in `polarity_statistics`. A line is a petal; groups with fewer
    than two usable cells have none.

    Notes
    -----
    In petal p, with s spots and a pixels of cytoplasm in each cell k, the
    concentration is ``sum_k s_kp / sum_k (s_k a_kp / a_k)``: cells count by their
    spots, and each is compared with its own uniform spots. Intervals are those of the
    Poisson bootstrap, which weighs each cell by draws of mean 1.
    """
    n = n_petals(index.sectors)
    tables = []
    for group in iter_groups(cells, plate_map, KEYS):
        bins, used = usable_cells(group.cells, index)
        if len(used) > 1:
            names = group.names | {"n_cells": len(used)}
            tables.append(_petals(bins, n, index, group.key).assign(**names))
    if not tables:
        return empty_table(ROSES)
    return as_table(pd.concat(tables, ignore_index=True), ROSES)


def _petals(
    bins: CellBins, n: int, index: SectorIndex, key: tuple[str, ...]
) -> pd.DataFrame:
    rng = stream(index, key, "rose")
    # Row 0 is what was measured, the others are bootstrap samples.
    found, expected = (np.zeros((1 + index.n_boot, n)) for _ in range(2))
    for _, spots, areas in bins.chunks():
        weights = rng.poisson(1.0, (1 + index.n_boot, len(spots))).astype(np.float64)
        weights[0] = 1.0
        inside, room = sector_sums(spots, n), sector_sums(areas, n)
        share = room / room.sum(axis=1, keepdims=True)
        found += weights @ inside
        expected += weights @ (inside.sum(axis=1, keepdims=True) * share)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(expected > 0, found / expected, np.nan)
    low, high = _interval(ratios[1:])
    edges = (np.arange(n) - 0.5) * 360 / n
    petals = pd.DataFrame({"from_deg": edges, "to_deg": edges + 360 / n})
    return petals.assign(concentration=ratios[0], low=low, high=high)


def _interval(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.isfinite(samples).all(axis=0) & bool(len(samples))
    ends = np.full((2, samples.shape[1]), np.nan)
    if known.any():
        ends[:, known] = np.quantile(samples[:, known], [0.025, 0.975], axis=0)
    return ends
