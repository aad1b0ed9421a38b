"""Angular bins of cells made small: 360 numbers in, the sums that an index reads out.

An index, its nulls and a rose only add up whole runs of bins, which start and end at a
few fixed edges::

    bins    | 3 0 1 | 0 2 | 4 0 0 | ...     360 counts of a cell, as in its table
    sums      4       2     4               one between each edge and the next
    unfolded  4 0 0   2 0   4 0 0           any run from edge to edge has its old sum

So what is measured from the unfolded sums is the same to the last bit, and a plate's
cells take a tenth of the memory. Nothing here knows tables or groups.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepspot_scale.statistics.null_models import STEP_DEG, Bins, Rotation
from deepspot_scale.vocabulary import N_BINS

_NEAR = 18
"""A rose gets the possible number of petals that is nearest to this."""


def n_petals(sectors: int) -> int:
    """Return how many petals a rose has: an odd number a sector, so that edges meet."""
    fit = [sectors * m for m in range(1, 180, 2) if 180 % (sectors * m) == 0]
    return min(fit, key=lambda n: abs(n - _NEAR))


@lru_cache(maxsize=32)
def bin_edges(sectors: int, rotation: Rotation) -> NDArray[np.int64]:
    """Return the bins at which a sum begins that is read, in ascending order.

    These are the first bins of the sectors in every turn of the rotation null, and of
    the petals. With the published rotation any bin can begin a sector.
    """
    if rotation != "fixed":
        return np.arange(N_BINS)
    width = N_BINS // sectors
    turns = np.arange(0, N_BINS, STEP_DEG)[:, None] + width * np.arange(sectors)
    petal = N_BINS // n_petals(sectors)
    starts = (turns.ravel() - width // 2, np.arange(0, N_BINS, petal) - petal // 2)
    return np.unique(np.concatenate(starts) % N_BINS)


def fold_bins(bins: Bins, edges: NDArray[np.int64]) -> Bins:
    """Return the sums (n, edges) of bins (n, 360), in the smallest dtype that fits."""
    turned = np.roll(np.asarray(bins, np.int64), -edges[0], axis=1)
    sums = np.add.reduceat(turned, edges - edges[0], axis=1)
    return sums.astype(np.min_scalar_type(sums.max(initial=0)))


def unfold_bins(sums: ArrayLike, edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return bins (n, 360) that have these sums; whole bins stay as they are."""
    counts = np.asarray(sums, np.int64)
    if counts.shape[1] == N_BINS:
        return counts
    bins = np.zeros((len(counts), N_BINS), np.int64)
    bins[:, edges] = counts
    return bins
