"""Which points lie so densely that they are one cluster.

Points in any unit come in, the number of each one's cluster goes out (DBSCAN, Ester et
al. 1996, as scikit-learn has it). Nothing here knows spots, fields or tables.
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
    from sklearn.cluster import DBSCAN

    found = DBSCAN(eps=reach, min_samples=least).fit(points, sample_weight=weights)
    return np.asarray(found.labels_, np.int64) + 1
