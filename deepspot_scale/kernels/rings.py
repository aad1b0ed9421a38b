"""Rings about the nucleus: distances come in, the number of a ring goes out.

    nucleus |  0  |  1  |  ...  | N - 1 | edge of the cell
            0            share           1

    share = to nucleus / (to nucleus + to edge)

The share says how far a place lies on its way from the border of the nucleus to the
edge of its cell, whatever the cell's size and shape; rings are equal steps of it.
Distances are whole numbers, and so are rings: no order of sums changes them. Nothing
here knows cells or spots.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.vocabulary import N_RINGS


def rings_of(
    to_nucleus: NDArray[np.integer[Any]], to_edge: NDArray[np.integer[Any]]
) -> NDArray[np.int64]:
    """Return the ring of each place, 0 at the nucleus to `vocabulary.N_RINGS` - 1.

    Parameters
    ----------
    to_nucleus, to_edge
        Distances in one unit, of one shape, 0 or more and not both 0.

    Examples
    --------
    >>> rings_of(np.array([1, 5, 99]), np.array([99, 5, 1]))
    array([0, 5, 9])
    """
    inner, outer = to_nucleus.astype(np.int64), to_edge.astype(np.int64)
    ring = inner * N_RINGS // np.maximum(inner + outer, 1)
    return np.asarray(np.minimum(ring, N_RINGS - 1), np.int64)
