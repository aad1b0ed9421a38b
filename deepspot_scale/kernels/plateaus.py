"""Pixels that touch, put together: groups of them, and the centre of each.

Places of single pixels come in, as many as there are, not a mask of the plane; so the
work grows with the pixels that are marked. Nothing here knows why they are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csgraph
from scipy.spatial import KDTree

Places = NDArray[np.int64]


def plateau_centres(places: Places) -> Places:
    """Return the pixel that holds the mean place of each group of pixels that touch.

    Parameters
    ----------
    places
        (n, 2) rows and columns of different pixels. They touch by a side or a corner.

    Returns
    -------
    ndarray
        (m, 2) rows and columns, fractions cut off, in reading order of the groups'
        first pixels.

    Examples
    --------
    >>> plateau_centres(np.array([[5, 5], [5, 6], [6, 7], [9, 9]])).tolist()
    [[5, 6], [9, 9]]
    """
    if len(places) == 0:
        return np.zeros((0, 2), np.int64)
    order = np.lexsort((places[:, 1], places[:, 0]))
    ordered = places[order]
    touching = KDTree(ordered).query_pairs(1.5, output_type="ndarray")
    ones = np.ones(len(touching), np.int8)
    n = len(ordered)
    graph = coo_array((ones, (touching[:, 0], touching[:, 1])), shape=(n, n))
    _, group = csgraph.connected_components(graph, directed=False)
    _, first = np.unique(group, return_index=True)
    sizes = np.bincount(group)
    sums = [np.bincount(group, weights=ordered[:, axis]) for axis in (0, 1)]
    centres = np.stack([total / sizes for total in sums], axis=1).astype(np.int64)
    return centres[np.argsort(first)]
