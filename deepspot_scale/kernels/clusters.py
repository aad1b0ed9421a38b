"""Which points lie so densely that they are one cluster.

Points in any unit come in, the number of each one's cluster goes out (DBSCAN, Ester et
al. 1996). Nothing here knows spots, fields or tables.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def number_clusters(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    reach: float,
    least: float,
) -> NDArray[np.int64]:
    """Return the cluster of each point, from 1 in the order of the points; 0: none.

    Points whose neighbourhood has enough weight are the midst of clusters; neighbours
    of each other are in one. A point at the border of several is in the first of them.

    Parameters
    ----------
    points
        (n, d).
    weights
        (n,) how many molecules each point stands for.
    reach
        Distance at which points are neighbours.
    least
        Weight that a point and its neighbours have together in the midst of a cluster.

    Examples
    --------
    >>> points = np.array([[0.0, 0], [1, 0], [0, 1], [9, 9]])
    >>> number_clusters(points, np.ones(4), 1.5, 3).tolist()
    [1, 1, 1, 0]
    """
    if len(points) == 0:
        return np.zeros(0, np.int64)
    from scipy.sparse import coo_array, csgraph
    from scipy.spatial import KDTree

    n = len(points)
    one, other = KDTree(points).query_pairs(reach, output_type="ndarray").T
    near = weights.astype(np.float64)
    np.add.at(near, one, weights[other])
    np.add.at(near, other, weights[one])
    midst = near >= least
    inside = midst[one] & midst[other]
    links = coo_array((inside[inside], (one[inside], other[inside])), (n, n))
    _, group = csgraph.connected_components(links, directed=False)
    found = np.zeros(n, np.int64)
    # Groups are numbered anew, by the first point of the midst of each.
    _, first, places = np.unique(group[midst], return_index=True, return_inverse=True)
    found[midst] = np.argsort(np.argsort(first))[places] + 1
    border = np.full(n, n + 1)
    for point, neighbour in ((one, other), (other, one)):
        at = midst[neighbour] & ~midst[point]
        np.minimum.at(border, point[at], found[neighbour[at]])
    return np.where(border <= n, border, found)
