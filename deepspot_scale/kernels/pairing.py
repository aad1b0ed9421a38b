"""Pairs of points of two sets, one to one: as many as there can be, then the closest.

Two sets of positions come in, and the largest distance of a pair: one number, or one
for each axis, which makes the sphere of a pair an ellipsoid. Places in both sets go
out. Points that could be paired form a graph; it falls apart into *groups* that share
no point, and each is solved by itself, so memory grows with the points and not with
their square. Points that lie equally well are decided by their order. Nothing here
knows spots, channels or tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csgraph
from scipy.spatial import KDTree

Points = NDArray[np.float64]
_ROWS_TOGETHER: Final = 4096
"""Points of small groups that are solved in one call; a call costs as much as ten of
them, and the time of one call may grow faster than its points."""


def find_neighbours(one: Points, other: Points, radius: float) -> NDArray[Any]:
    """Return all pairs within the radius, itself included.

    Parameters
    ----------
    one, other
        (n, d) and (m, d) positions, in units in which a pair's reach is a sphere.
    radius
        In these units, at least 0.

    Returns
    -------
    ndarray
        Fields i of `one`, j of `other` and their distance v, ordered by i, then j.
    """
    if len(one) == 0 or len(other) == 0:
        return np.empty(0, [("i", np.intp), ("j", np.intp), ("v", np.float64)])
    near: NDArray[Any] = KDTree(one).sparse_distance_matrix(
        KDTree(other), np.nextafter(radius, np.inf), output_type="ndarray"
    )
    inside: NDArray[Any] = near[near["v"] <= radius]
    ordered: NDArray[Any] = inside[np.lexsort((inside["j"], inside["i"]))]
    return ordered


def count_most_pairs(near: NDArray[Any], shape: tuple[int, int]) -> int:
    """Return how many of the pairs there can be at once, each point in one at most."""
    return int((match_most(near["i"], near["j"], shape) >= 0).sum())


def match_most(
    i: NDArray[np.integer], j: NDArray[np.integer], shape: tuple[int, int]
) -> NDArray[np.int64]:
    """Return the partner of each row in a matching of the most pairs, -1: none.

    `i` and `j` are the rows and columns of possible pairs, each pair once.
    """
    if len(i) == 0:
        return np.full(shape[0], -1, np.int64)
    graph = coo_array((np.ones(len(i), np.int8), (i, j)), shape=shape).tocsr()
    partner = csgraph.maximum_bipartite_matching(graph, perm_type="column")
    return np.asarray(partner, np.int64)


def pair_one_to_one(one: Points, other: Points, radius: float) -> NDArray[np.int64]:
    """Return as many pairs within `radius` as there can be, the closest such ones.

    Parameters are those of `find_neighbours`. The answer is (k, 2), places in `one` and
    in `other`, ordered by the former.

    Examples
    --------
    >>> line = np.array([[0.0, 0.0], [0.0, 2.0]])
    >>> pair_one_to_one(line, line + [0.0, 1.5], 2.0).tolist()
    [[0, 0], [1, 1]]
    """
    return choose_pairs(find_neighbours(one, other, radius))


def choose_pairs(near: NDArray[Any]) -> NDArray[np.int64]:
    """Return as many of the possible pairs as there can be at once, at the least price.

    `near` is as `find_neighbours` returns it; its v is a price of at least 0 and need
    not be a distance. The answer is (k, 2), i and j, ordered by the former.
    """
    chosen = near[_choose(near)] if len(near) else near
    pairs = np.stack([chosen["i"], chosen["j"]], axis=1).astype(np.int64)
    return pairs[np.argsort(pairs[:, 0], kind="stable")]


def _choose(near: NDArray[Any]) -> NDArray[np.int64]:
    """Return the places of the chosen pairs among the possible ones."""
    _, i = np.unique(near["i"], return_inverse=True)
    _, j = np.unique(near["j"], return_inverse=True)
    n = int(i.max()) + 1
    size = n + int(j.max()) + 1
    graph = coo_array((np.ones(len(near), np.int8), (i, n + j)), shape=(size, size))
    _, group = csgraph.connected_components(graph, directed=False)
    of_edge, n_groups = group[i], int(group.max()) + 1
    n_rows = np.bincount(group[:n], minlength=n_groups)
    n_columns = np.bincount(group[n:], minlength=n_groups)
    # One point with several others, or one other: its closest pair is the answer.
    is_star = np.minimum(n_rows, n_columns)[of_edge] == 1
    stars = np.flatnonzero(is_star)
    order = stars[np.lexsort((stars, near["v"][stars], of_edge[stars]))]
    chosen = [order[np.diff(of_edge[order], prepend=-1) != 0]]
    edges = np.flatnonzero(~is_star)
    for own in _batches(edges[np.argsort(of_edge[edges], kind="stable")], of_edge, i):
        chosen.append(own[_assign(i[own], j[own], near["v"][own], of_edge[own])])
    return np.concatenate(chosen)


def _batches(
    edges: NDArray[np.int64], group: NDArray[Any], i: NDArray[Any]
) -> Iterator[NDArray[np.int64]]:
    """Yield the edges of whole groups, some groups together."""
    if len(edges) == 0:
        return
    begins = np.flatnonzero(np.diff(group[edges], prepend=-1))
    row = i[edges]
    new_row = np.zeros(len(edges), np.int64)
    new_row[np.unique(row, return_index=True)[1]] = 1
    rows_before = np.cumsum(np.add.reduceat(new_row, begins)) // _ROWS_TOGETHER
    cuts = begins[1:][np.diff(rows_before) != 0]
    yield from np.split(edges, cuts)


def _assign(
    i: NDArray[Any], j: NDArray[Any], distance: Points, group: NDArray[Any]
) -> NDArray[np.int64]:
    """Return the places of the chosen pairs of some groups, as one linear assignment.

    Every row may also take a place of its own, at a price above that of all real pairs
    of its group together, so a full assignment always exists and real pairs come first.
    """
    rows, i = np.unique(i, return_inverse=True)
    columns, j = np.unique(j, return_inverse=True)
    n, m = len(rows), len(columns)
    _, group = np.unique(group, return_inverse=True)
    of_row = np.empty(n, np.int64)
    of_row[i] = group
    most = np.zeros(int(group.max()) + 1)
    np.maximum.at(most, group, distance)
    price = (most[of_row] + 1.0) * (np.bincount(of_row)[of_row] + 1)
    weights = np.concatenate([distance + 1.0, price])  # 0 would be "no pair"
    edges = (np.r_[i, np.arange(n)], np.r_[j, m + np.arange(n)])
    graph = coo_array((weights, edges), shape=(n, m + n)).tocsr()
    taken_rows, taken = csgraph.min_weight_full_bipartite_matching(graph)
    partner = np.full(n, -1, np.int64)
    partner[taken_rows] = taken
    return np.flatnonzero(partner[i] == j)
